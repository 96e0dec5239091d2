//! Owns the account calls: body in, answer out; what they do is in `accounts`.

use actix_web::web::{Data, Json};
use actix_web::{HttpResponse, Responder};

use super::input::{Bearer, Input};
use super::problem::ProblemResponse;
use super::{HttpState, Kind};
use crate::gateway::accounts::{Account, AccountRole, RefreshToken};
use crate::protocol::http::{
    LOGIN_PATH, LOGOUT_PATH, Login, Logout, ME_PATH, Me, PASSWORD_PATH, Password, Problem,
    REFRESH_PATH, REGISTER_PATH, Refresh, Register, Tokens,
};

type Answer<T> = Result<T, ProblemResponse>;

/// Reads a raw body into what cannot be wrong.
fn legal<Raw, T>(raw: Raw) -> Answer<T>
where
    T: TryFrom<Raw>,
    ProblemResponse: From<T::Error>,
{
    T::try_from(raw).map_err(ProblemResponse::from)
}

#[utoipa::path(
    post, path = REGISTER_PATH, tag = "accounts", request_body = Register,
    responses(
        (status = 201, description = "The account is there", body = Tokens),
        (status = 400, description = "A field or the body is illegal; `field` and `expected` say which", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Name or e-mail is taken", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer, or too much is to do", body = Problem, content_type = "application/problem+json"),
    ),
)]
/// Makes an account.
pub async fn register(
    state: Data<HttpState>,
    Input(body): Input<Register>,
) -> Answer<impl Responder> {
    let tokens = state.accounts.register(legal(body)?).await?;
    Ok(HttpResponse::Created().json(tokens))
}

#[utoipa::path(
    post, path = LOGIN_PATH, tag = "accounts", request_body = Login,
    responses(
        (status = 200, body = Tokens),
        (status = 400, description = "A field or the body is illegal; `field` and `expected` say which", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Name or password is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer, or too much is to do", body = Problem, content_type = "application/problem+json"),
    ),
)]
/// Gives tokens for a name (or e-mail) and password.
pub async fn login(state: Data<HttpState>, Input(body): Input<Login>) -> Answer<Json<Tokens>> {
    Ok(Json(state.accounts.login(legal(body)?).await?))
}

#[utoipa::path(
    post, path = REFRESH_PATH, tag = "accounts", request_body = Refresh,
    responses(
        (status = 200, body = Tokens),
        (status = 400, description = "A field or the body is illegal; `field` and `expected` say which", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer, or too much is to do", body = Problem, content_type = "application/problem+json"),
    ),
)]
/// Gives new tokens for a refresh token, which ends.
pub async fn refresh(state: Data<HttpState>, Input(body): Input<Refresh>) -> Answer<Json<Tokens>> {
    let token = RefreshToken::parse(&body.refresh_token.0)?;
    Ok(Json(state.accounts.refresh(&token).await?))
}

#[utoipa::path(
    post, path = LOGOUT_PATH, tag = "accounts", request_body = Logout,
    responses(
        (status = 204, description = "The token has ended"),
        (status = 400, description = "A field or the body is illegal; `field` and `expected` say which", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer, or too much is to do", body = Problem, content_type = "application/problem+json"),
    ),
)]
/// Ends a refresh token, or everything of its account.
pub async fn logout(state: Data<HttpState>, Input(body): Input<Logout>) -> Answer<HttpResponse> {
    let token = RefreshToken::parse(&body.refresh_token.0)?;
    match body.everywhere {
        true => state.accounts.logout_everywhere(&token).await?,
        false => state.accounts.logout(&token).await?,
    }
    Ok(HttpResponse::NoContent().finish())
}

#[utoipa::path(
    post, path = PASSWORD_PATH, tag = "accounts", request_body = Password,
    responses(
        (status = 200, body = Tokens),
        (status = 400, description = "A field or the body is illegal; `field` and `expected` say which", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Token or password is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer, or too much is to do", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// Changes the password; all other tokens of the account end.
pub async fn password(
    state: Data<HttpState>,
    Bearer(who): Bearer,
    Input(body): Input<Password>,
) -> Answer<Json<Tokens>> {
    Ok(Json(state.accounts.change_password(&who, legal(body)?).await?))
}

#[utoipa::path(
    get, path = ME_PATH, tag = "accounts",
    responses(
        (status = 200, body = Me),
        (status = 401, description = "The token is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer, or too much is to do", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// The account that the bearer token belongs to.
pub async fn me(state: Data<HttpState>, Bearer(who): Bearer) -> Answer<Json<Me>> {
    let account = state.accounts.account(who.player).await?;
    let missing = || ProblemResponse::new(Kind::NotFound, "the account is gone");
    Ok(Json(shown(account.ok_or_else(missing)?, &who.roles)))
}

/// What an account's own player is shown of it, and what the token may do.
fn shown(account: Account, roles: &[AccountRole]) -> Me {
    Me {
        player: account.player,
        name: account.name,
        email: account.email,
        display_name: account.display_name,
        faction: account.faction,
        roles: roles.iter().map(|role| role.as_str().to_string()).collect(),
        created: account.created.0,
        last_login: account.last_login.0,
    }
}
