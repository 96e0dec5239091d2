//! Owns the account calls: body in, answer out; what they do is in `accounts`.

use actix_web::web::{Data, Json};
use actix_web::{HttpResponse, Responder};

use super::input::{Bearer, Input};
use super::problem::ProblemResponse;
use super::{HttpState, Kind};
use crate::gateway::accounts::{Account, RefreshToken};
use crate::protocol::http::{Login, Logout, Me, Password, Refresh, Register, Tokens};

type Answer<T> = Result<T, ProblemResponse>;

/// Reads a raw body into what cannot be wrong.
fn legal<Raw, T>(raw: Raw) -> Answer<T>
where
    T: TryFrom<Raw>,
    ProblemResponse: From<T::Error>,
{
    T::try_from(raw).map_err(ProblemResponse::from)
}

pub async fn register(
    state: Data<HttpState>,
    Input(body): Input<Register>,
) -> Answer<impl Responder> {
    let tokens = state.accounts.register(legal(body)?).await?;
    Ok(HttpResponse::Created().json(tokens))
}

pub async fn login(state: Data<HttpState>, Input(body): Input<Login>) -> Answer<Json<Tokens>> {
    Ok(Json(state.accounts.login(legal(body)?).await?))
}

pub async fn refresh(state: Data<HttpState>, Input(body): Input<Refresh>) -> Answer<Json<Tokens>> {
    let token = RefreshToken::parse(&body.refresh_token.0)?;
    Ok(Json(state.accounts.refresh(&token).await?))
}

pub async fn logout(state: Data<HttpState>, Input(body): Input<Logout>) -> Answer<HttpResponse> {
    let token = RefreshToken::parse(&body.refresh_token.0)?;
    match body.everywhere {
        true => state.accounts.logout_everywhere(&token).await?,
        false => state.accounts.logout(&token).await?,
    }
    Ok(HttpResponse::NoContent().finish())
}

pub async fn password(
    state: Data<HttpState>,
    Bearer(who): Bearer,
    Input(body): Input<Password>,
) -> Answer<Json<Tokens>> {
    Ok(Json(state.accounts.change_password(&who, legal(body)?).await?))
}

pub async fn me(state: Data<HttpState>, Bearer(who): Bearer) -> Answer<Json<Me>> {
    let account = state.accounts.account(who.player).await?;
    let missing = || ProblemResponse::new(Kind::NotFound, "the account is gone");
    Ok(Json(shown(account.ok_or_else(missing)?)))
}

/// What an account's own player is shown of it.
fn shown(account: Account) -> Me {
    Me {
        player: account.player,
        name: account.name,
        email: account.email,
        display_name: account.display_name,
        faction: account.faction,
        roles: account.roles.into_iter().map(|role| role.as_str().to_string()).collect(),
        created: account.created.0,
        last_login: account.last_login.0,
    }
}
