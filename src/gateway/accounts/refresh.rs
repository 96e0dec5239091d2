//! Owns refresh tokens: a family for each log-in, one valid token in each. Each
//! is used once and answered with the next; one that comes a second time was
//! copied, by whoever came first or second, so its family ends.

use super::{Account, AccountError, Accounts, TRIES, TokenError, hex, random::random};
use crate::actors::rows::GroupAnswer;
use crate::base::{Millis, PlayerId};
use crate::entity::account::RefreshFamily;
use crate::entity::commit::{Check, Expect, Group, Put};
use crate::entity::keys;
use crate::protocol::http::{Secret, Tokens};
use crate::store::Versioned;
use crate::telemetry::metrics::REFRESH_REUSED;

/// Families of one player; a further log-in ends the oldest.
const FAMILIES_MAX: usize = 32;
const PREFIX: &str = "smr1_";

/// A refresh token: opaque to clients. Whoever has it can go on with the
/// log-in, so it is never printed, and stored only as a hash of its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    player: PlayerId,
    family: [u8; 16],
    secret: [u8; 32],
}

impl RefreshToken {
    /// The first token of a new family.
    fn first(player: PlayerId) -> RefreshToken {
        RefreshToken { player, family: random(), secret: random() }
    }

    /// The token after this one in its family.
    fn next(&self) -> RefreshToken {
        RefreshToken { secret: random(), ..self.clone() }
    }

    /// # Errors
    /// When `text` has not the form of a token.
    pub fn parse(text: &str) -> Result<RefreshToken, AccountError> {
        let parts = || {
            let digits = text.strip_prefix(PREFIX)?;
            let player = u64::from_be_bytes(hex::decode(digits.get(..16)?)?);
            let family = hex::decode(digits.get(16..48)?)?;
            let secret = hex::decode(digits.get(48..)?)?;
            Some(RefreshToken { player: PlayerId(player), family, secret })
        };
        parts().ok_or(AccountError::Refresh(TokenError::Malformed))
    }

    fn format(&self) -> String {
        let player = hex::encode(&self.player.0.to_be_bytes());
        format!("{PREFIX}{player}{}{}", hex::encode(&self.family), hex::encode(&self.secret))
    }

    fn key(&self) -> Vec<u8> {
        keys::refresh(self.player, self.family)
    }

    fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.secret).as_bytes()
    }
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RefreshToken(of player {}, …)", self.player)
    }
}

/// What a valid refresh token belongs to, and the versions of both rows.
struct Open {
    family_version: u64,
    account: Account,
    version: u64,
}

impl Accounts {
    /// New tokens for a refresh token, which is used up by it.
    ///
    /// # Errors
    /// [`AccountError::Refresh`] when it is not valid; one that was used
    /// before, then its family is revoked.
    pub async fn refresh(&self, token: &RefreshToken) -> Result<Tokens, AccountError> {
        for _ in 0..TRIES {
            let Open { family_version, account, version } = self.open_family(token).await?;
            let next = token.next();
            let group = Group {
                checks: vec![
                    check(token.key(), Expect::Version(family_version)),
                    check(keys::account(token.player), Expect::Version(version)),
                ],
                puts: vec![self.family_put(&next, &account)],
                append: None,
            };
            if self.commit(group).await? {
                return self.tokens(&account, &next);
            }
        }
        Err(AccountError::Busy)
    }

    /// Ends the family of a refresh token. Access tokens that were given out
    /// stay valid until they expire. Ending what has ended is no error.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn logout(&self, token: &RefreshToken) -> Result<(), AccountError> {
        if self.0.rows.get(token.key()).await?.is_some() {
            self.commit(Group { puts: vec![delete(token.key())], ..Group::default() }).await?;
        }
        Ok(())
    }

    /// Ends all tokens of the account that a valid refresh token belongs to,
    /// and with them its sessions, on every gateway.
    ///
    /// # Errors
    /// [`AccountError::Refresh`] when it is not valid.
    pub async fn logout_everywhere(&self, token: &RefreshToken) -> Result<(), AccountError> {
        for _ in 0..TRIES {
            let Open { mut account, version, .. } = self.open_family(token).await?;
            account.generation += 1;
            if self.commit(self.raise_group(&account, version).await?).await? {
                return Ok(());
            }
        }
        Err(AccountError::Busy)
    }

    /// What `token` belongs to, if it is valid now. One that was used up ends
    /// its family.
    async fn open_family(&self, token: &RefreshToken) -> Result<Open, AccountError> {
        let refused = |error| Err(AccountError::Refresh(error));
        let Some(row) = self.0.rows.get(token.key()).await? else {
            return refused(TokenError::Revoked);
        };
        let family = RefreshFamily::from_bytes(&row.value)?;
        if family.current != token.hash() {
            self.end_copied_family(token, &row).await?;
            return refused(TokenError::Revoked);
        }
        if family.expires <= self.now() {
            return refused(TokenError::Expired);
        }
        match self.load(token.player).await? {
            Some((account, version)) if account.generation == family.generation => {
                Ok(Open { family_version: row.version, account, version })
            }
            _ => refused(TokenError::Revoked),
        }
    }

    /// Only a token of this family names its 16 random bytes, so this one was
    /// valid once: two hold the same chain.
    async fn end_copied_family(
        &self,
        token: &RefreshToken,
        row: &Versioned,
    ) -> Result<(), AccountError> {
        tracing::warn!(player = %token.player, "a refresh token came a second time: its family ends");
        REFRESH_REUSED.increment(1);
        let mut version = row.version;
        for _ in 0..TRIES {
            let checks = vec![check(token.key(), Expect::Version(version))];
            let group = Group { checks, puts: vec![delete(token.key())], append: None };
            if self.commit(group).await? {
                return Ok(());
            }
            match self.0.rows.get(token.key()).await? {
                Some(row) => version = row.version,
                None => return Ok(()),
            }
        }
        Err(AccountError::Busy)
    }

    /// A new family's first token, its put, and the deletes that make room for
    /// it: families expired, of an older generation, or too many.
    pub(super) async fn new_family(
        &self,
        account: &Account,
    ) -> Result<(RefreshToken, Vec<Put>), AccountError> {
        let now = self.now();
        let mut puts = Vec::new();
        let mut alive: Vec<(Millis, Vec<u8>)> = Vec::new();
        for (key, row) in self.families(account.player).await? {
            match RefreshFamily::from_bytes(&row.value) {
                Ok(family) if family.expires > now && family.generation == account.generation => {
                    alive.push((family.issued, key));
                }
                _ => puts.push(delete(key)),
            }
        }
        alive.sort();
        let excess = (alive.len() + 1).saturating_sub(FAMILIES_MAX);
        puts.extend(alive.drain(..excess).map(|(_, key)| delete(key)));
        let token = RefreshToken::first(account.player);
        puts.push(self.family_put(&token, account));
        Ok((token, puts))
    }

    /// The group that writes `account`, of a raised generation, over `version`
    /// and ends all its families.
    async fn raise_group(&self, account: &Account, version: u64) -> Result<Group, AccountError> {
        let families = self.families(account.player).await?;
        let mut puts: Vec<Put> = families.into_iter().map(|(key, _)| delete(key)).collect();
        puts.push(put_account(account));
        let checks = vec![check(keys::account(account.player), Expect::Version(version))];
        Ok(Group { checks, puts, append: None })
    }

    async fn families(&self, player: PlayerId) -> Result<Vec<(Vec<u8>, Versioned)>, AccountError> {
        Ok(self.0.rows.scan(keys::refresh_of(player), None, 2 * FAMILIES_MAX).await?)
    }

    fn family_put(&self, token: &RefreshToken, account: &Account) -> Put {
        let issued = self.now();
        let lifetime_ms = u64::try_from(self.0.refresh_token.as_millis()).unwrap_or(u64::MAX);
        let family = RefreshFamily {
            current: token.hash(),
            generation: account.generation,
            issued,
            expires: Millis(issued.0.saturating_add(lifetime_ms)),
        };
        Put { key: token.key(), value: Some(family.to_bytes()) }
    }

    pub(super) fn tokens(
        &self,
        account: &Account,
        refresh: &RefreshToken,
    ) -> Result<Tokens, AccountError> {
        Ok(Tokens {
            player: account.player,
            access_token: Secret(self.sign(account)?),
            expires_in: self.0.access_token.as_secs(),
            refresh_token: Secret(refresh.format()),
        })
    }

    /// True when the group was accepted, false when a check failed.
    pub(super) async fn commit(&self, group: Group) -> Result<bool, AccountError> {
        Ok(matches!(self.0.rows.commit_group(group).await?, GroupAnswer::Accepted { .. }))
    }
}

pub(super) fn check(key: Vec<u8>, expect: Expect) -> Check {
    Check { key, expect }
}

pub(super) fn put_account(account: &Account) -> Put {
    Put { key: keys::account(account.player), value: Some(account.to_bytes()) }
}

fn delete(key: Vec<u8>) -> Put {
    Put { key, value: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_never_printed() {
        let token = RefreshToken::first(PlayerId(7));
        let text = token.format();
        assert_eq!(RefreshToken::parse(&text).unwrap(), token);
        assert_ne!(token.next(), token);
        assert_eq!(format!("{token:?}"), "RefreshToken(of player 7, …)");
        for wrong in ["", "smr1_", &text[1..], &text[..text.len() - 1], &format!("{text}0")] {
            assert!(RefreshToken::parse(wrong).is_err(), "{wrong}");
        }
    }
}
