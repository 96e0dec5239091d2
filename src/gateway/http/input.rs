//! Owns how bodies and tokens are taken from a request: bounded in size and
//! time, strict in form.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::HttpState;
use super::problem::{Kind, ProblemResponse};
use crate::gateway::accounts::{AccountError, Identity, TokenError};

/// The largest body of any call here.
const BODY_BYTES_MAX: usize = 4 * 1024;

type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, ProblemResponse>>>>;

/// A JSON body.
pub struct Input<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Input<T> {
    type Error = ProblemResponse;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let typed = request.content_type().eq_ignore_ascii_case("application/json");
        let found = request.content_type().to_string();
        let time = state(request).map(|state| state.request_timeout);
        let payload = payload.take();
        Box::pin(async move {
            if !typed {
                let detail = format!("found content type {found:?}, expected application/json");
                let problem = ProblemResponse::new(Kind::UnsupportedMediaType, detail);
                return Err(problem.expected("application/json"));
            }
            let body = read(payload, time?).await?;
            serde_json::from_slice(&body).map(Input).map_err(|error| {
                ProblemResponse::new(Kind::MalformedBody, format!("the JSON body: {error}"))
            })
        })
    }
}

/// The whole body, if it is small enough and comes in time.
async fn read(mut payload: Payload, time: Duration) -> Result<Vec<u8>, ProblemResponse> {
    let mut body = Vec::new();
    let reading = async {
        while let Some(part) = payload.next().await {
            let part = part.map_err(|error| {
                ProblemResponse::new(Kind::MalformedBody, format!("the body broke off: {error}"))
            })?;
            if body.len() + part.len() > BODY_BYTES_MAX {
                let detail = format!("expected a body of at most {BODY_BYTES_MAX} bytes");
                return Err(ProblemResponse::new(Kind::BodyTooLarge, detail));
            }
            body.extend_from_slice(&part);
        }
        Ok(())
    };
    let late = |_| {
        let detail = format!("the body did not arrive within {} s", time.as_secs());
        ProblemResponse::new(Kind::RequestTimeout, detail)
    };
    timeout(time, reading).await.map_err(late)??;
    Ok(body)
}

/// Who the bearer token of a request belongs to.
pub struct Bearer(pub Identity);

impl FromRequest for Bearer {
    type Error = ProblemResponse;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(bearer).map(str::to_string);
        let accounts = state(request).map(|state| state.accounts.clone());
        Box::pin(async move {
            let malformed = AccountError::Access(TokenError::Malformed);
            let token = token.ok_or(malformed).map_err(|error| {
                ProblemResponse::from(error).expected("Authorization: Bearer and an access token")
            })?;
            Ok(Bearer(accounts?.authenticate(&token).await?))
        })
    }
}

/// Who the bearer token of a request belongs to, if it has one. A token that is
/// not valid is refused all the same.
pub struct MaybeBearer(pub Option<Identity>);

impl FromRequest for MaybeBearer {
    type Error = ProblemResponse;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if !request.headers().contains_key(AUTHORIZATION) {
            return Box::pin(async { Ok(MaybeBearer(None)) });
        }
        let bearer = Bearer::from_request(request, payload);
        Box::pin(async { bearer.await.map(|Bearer(who)| MaybeBearer(Some(who))) })
    }
}

/// The credentials of the scheme Bearer, whose name has no case.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn state(request: &HttpRequest) -> Result<&web::Data<HttpState>, ProblemResponse> {
    let missing = || ProblemResponse::new(Kind::Internal, "the routes have no state");
    request.app_data::<web::Data<HttpState>>().ok_or_else(missing)
}
