//! Owns what every endpoint has in common: its limit per address, its answer to
//! other methods, its counters, and that nobody caches what does not say so.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{HttpServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, FromRequest, Handler, HttpRequest, Responder, guard, web};

use super::{HttpState, ProblemResponse};
use crate::gateway::limits::{Limits, RetryAfter};
use crate::telemetry::metrics::HTTP_REQUESTS;

/// Which limit an endpoint counts for.
#[derive(Clone, Copy, Debug)]
pub enum Class {
    Register,
    /// Also all else that takes a password, so that none can be guessed.
    Login,
    Request,
}

impl Class {
    fn admit(self, limits: &Limits, client: IpAddr) -> Result<(), RetryAfter> {
        match self {
            Class::Register => limits.register(client),
            Class::Login => limits.login(client),
            Class::Request => limits.request(client),
        }
    }
}

/// The service at `path` for one method; all others are answered 405.
pub fn endpoint<F, Args>(
    path: &'static str,
    class: Class,
    method: &'static str,
    handler: F,
) -> impl HttpServiceFactory
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let found = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
    let other = move |request: HttpRequest| async move {
        ProblemResponse::method_not_allowed(method, request.method().as_str())
    };
    web::resource(path)
        .route(web::route().guard(guard::Method(found)).to(handler))
        .default_service(web::to(other))
        .wrap(from_fn(move |request, next| watch(path, class, request, next)))
}

/// All paths that nothing else serves, limited and counted like the others.
pub fn elsewhere<F, Args>(handler: F) -> impl HttpServiceFactory
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource("/{path:.*}")
        .default_service(web::to(handler))
        .wrap(from_fn(|request, next| watch("elsewhere", Class::Request, request, next)))
}

/// Limits and counts one request.
async fn watch(
    path: &'static str,
    class: Class,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut response = match admit(class, &request) {
        Err(wait) => request.error_response(ProblemResponse::from(wait)),
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
    };
    let status = match response.status().as_u16() {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    HTTP_REQUESTS.with(&[path, status]).increment(1);
    let headers = response.headers_mut();
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

fn admit(class: Class, request: &ServiceRequest) -> Result<(), RetryAfter> {
    let Some(state) = request.app_data::<web::Data<HttpState>>() else { return Ok(()) };
    // A peer without an address is on a socket of this machine.
    let peer = request.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
    class.admit(&state.limits, state.limits.client(peer, request.headers()))
}
