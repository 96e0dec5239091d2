//! Owns what a node may do in its cluster: a set of roles, and its form in the
//! store. Never decides who does what: shares, balance and the planner ask. Each
//! node says its own with the first commit of its incarnation, so of whoever lives
//! they are known. Invariant: a set is never empty.

/// One thing that a node may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// It runs sectors.
    Sector = 1,
    /// It says which node gets what. While nobody with this role lives, others do.
    Coordinator = 2,
    /// It runs ledgers and boards.
    Meta = 4,
    /// It takes players' connections.
    Gateway = 8,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Sector, Role::Coordinator, Role::Meta, Role::Gateway];

    pub fn name(self) -> &'static str {
        match self {
            Role::Sector => "sector",
            Role::Coordinator => "coordinator",
            Role::Meta => "meta",
            Role::Gateway => "gateway",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The roles of a node: a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles(u8);

impl Default for Roles {
    /// All of them.
    fn default() -> Roles {
        Roles(Role::ALL.into_iter().fold(0, |bits, role| bits | role as u8))
    }
}

impl Roles {
    /// The set with these; `None` when there is none.
    pub fn of(roles: impl IntoIterator<Item = Role>) -> Option<Roles> {
        let bits = roles.into_iter().fold(0, |bits, role| bits | role as u8);
        (bits != 0).then_some(Roles(bits))
    }

    pub fn has(self, role: Role) -> bool {
        self.0 & role as u8 != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }

    /// A stored format: a bit for each.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// A stored format.
    pub fn to_bytes(self) -> Vec<u8> {
        vec![self.0]
    }

    /// What [`to_bytes`](Self::to_bytes) made. Roles that this build does not know
    /// are left out; `None` when nothing is left, or it is no set.
    pub fn from_bytes(bytes: &[u8]) -> Option<Roles> {
        let [bits] = bytes else { return None };
        Roles::of(Role::ALL.into_iter().filter(|role| bits & *role as u8 != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_comes_back_and_is_never_empty() {
        let some = Roles::of([Role::Meta, Role::Sector]).unwrap();
        assert_eq!(some.iter().collect::<Vec<_>>(), [Role::Sector, Role::Meta]);
        assert_eq!(Roles::from_bytes(&some.to_bytes()), Some(some));
        assert_eq!(Roles::default().iter().count(), Role::ALL.len());
        assert_eq!((Roles::of([]), Roles::from_bytes(&[0])), (None, None));
        assert_eq!((Roles::from_bytes(&[]), Roles::from_bytes(&[1, 1])), (None, None));
        assert_eq!(Roles::from_bytes(&[0x81]), Roles::of([Role::Sector]), "of a newer build");
    }
}
