//! Owns the form of every error over HTTP: RFC 9457 problem documents, with
//! the field and what was expected where input was wrong, and always with what
//! became of the state.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError};

use crate::actors::rows::StoreAway;
use crate::gateway::accounts::AccountError;
use crate::gateway::accounts::fields::FieldError;
use crate::gateway::limits::RetryAfter;
use crate::protocol::http::{Changed, PROBLEM_TYPE, Problem};

/// Seconds after which it is worth trying again when the node is busy.
const BUSY_RETRY_S: u64 = 2;

/// What can go wrong. The name in the document is the last part of its `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    InvalidField,
    MalformedBody,
    NameTaken,
    EmailTaken,
    WrongCredentials,
    TokenRefused,
    Forbidden,
    Refused,
    Limited,
    Busy,
    StoreAway,
    NotReady,
    NotFound,
    MethodNotAllowed,
    BodyTooLarge,
    UnsupportedMediaType,
    RequestTimeout,
    UpgradeRequired,
    UnknownSubprotocol,
    Internal,
}

impl Kind {
    /// Status, name, title.
    fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Kind::InvalidField => (400, "invalid-field", "A field has an illegal value"),
            Kind::MalformedBody => (400, "malformed-body", "The body is not what is expected"),
            Kind::NameTaken => (409, "name-taken", "The name is taken"),
            Kind::EmailTaken => (409, "email-taken", "The e-mail address is taken"),
            Kind::WrongCredentials => (401, "wrong-credentials", "Name or password is wrong"),
            Kind::TokenRefused => (401, "token-refused", "The token is not valid"),
            Kind::Forbidden => (403, "forbidden", "The role for that is missing"),
            Kind::Refused => (409, "refused", "That cannot be done as things are"),
            Kind::Limited => (429, "limited", "Too many requests"),
            Kind::Busy => (503, "busy", "Too much to do"),
            Kind::StoreAway => (503, "store-away", "The store does not answer"),
            Kind::NotReady => (503, "not-ready", "This node takes no players"),
            Kind::NotFound => (404, "not-found", "Nothing is here"),
            Kind::MethodNotAllowed => (405, "method-not-allowed", "The method is not allowed here"),
            Kind::BodyTooLarge => (413, "body-too-large", "The body is too large"),
            Kind::UnsupportedMediaType => {
                (415, "unsupported-media-type", "The body has another type")
            }
            Kind::RequestTimeout => (408, "request-timeout", "The request took too long to arrive"),
            Kind::UpgradeRequired => (426, "upgrade-required", "Only a WebSocket is served here"),
            Kind::UnknownSubprotocol => {
                (400, "unknown-subprotocol", "No subprotocol named is spoken here")
            }
            Kind::Internal => (500, "internal", "A fault of this service"),
        }
    }
}

/// A problem document and the headers that go with it.
#[derive(Clone, Debug)]
pub struct ProblemResponse {
    problem: Box<Problem>,
    retry_after_s: Option<u64>,
    allow: Option<&'static str>,
}

impl ProblemResponse {
    /// A problem that changed nothing.
    pub fn new(kind: Kind, detail: impl Into<String>) -> ProblemResponse {
        let (status, name, title) = kind.parts();
        let problem = Problem {
            kind: format!("/problems/{name}"),
            title: title.to_string(),
            status,
            detail: detail.into(),
            field: None,
            expected: None,
            changed: Changed::Nothing,
        };
        let retry_after_s = (status == 503).then_some(BUSY_RETRY_S);
        ProblemResponse { problem: Box::new(problem), retry_after_s, allow: None }
    }

    pub fn expected(mut self, expected: impl Into<String>) -> ProblemResponse {
        self.problem.expected = Some(expected.into());
        self
    }

    /// 405, naming the method that is served.
    pub fn method_not_allowed(allow: &'static str, found: &str) -> ProblemResponse {
        let detail = format!("found {found}, expected {allow}");
        let problem = ProblemResponse::new(Kind::MethodNotAllowed, detail).expected(allow);
        ProblemResponse { allow: Some(allow), ..problem }
    }

    pub fn with_field(mut self, field: &str) -> ProblemResponse {
        self.problem.field = Some(field.to_string());
        self
    }

    fn unknown_outcome(mut self) -> ProblemResponse {
        self.problem.changed = Changed::Unknown;
        self
    }
}

impl std::fmt::Display for ProblemResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.problem.title, self.problem.detail)
    }
}

impl ResponseError for ProblemResponse {
    fn status_code(&self) -> StatusCode {
        // All statuses of `Kind` are legal; 500 if one ever is not.
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CONTENT_TYPE, PROBLEM_TYPE));
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        if self.problem.status == 401 {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        // Strings and numbers always become JSON.
        response.body(serde_json::to_string(&*self.problem).unwrap_or_default())
    }
}

impl Responder for ProblemResponse {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse<BoxBody> {
        self.error_response()
    }
}

impl From<FieldError> for ProblemResponse {
    fn from(FieldError { field, expected }: FieldError) -> Self {
        let detail = format!("{field} must be {expected}");
        ProblemResponse::new(Kind::InvalidField, detail).expected(expected).with_field(field)
    }
}

impl From<RetryAfter> for ProblemResponse {
    fn from(wait: RetryAfter) -> Self {
        let seconds = wait.seconds();
        let detail = format!("this address did this too often; try again in {seconds} s");
        let problem = ProblemResponse::new(Kind::Limited, detail);
        ProblemResponse { retry_after_s: Some(seconds), ..problem }
    }
}

impl From<StoreAway> for ProblemResponse {
    fn from(away: StoreAway) -> Self {
        let problem = ProblemResponse::new(Kind::StoreAway, away.to_string());
        if away == StoreAway::Unknown { problem.unknown_outcome() } else { problem }
    }
}

impl From<AccountError> for ProblemResponse {
    fn from(error: AccountError) -> Self {
        let kind = match &error {
            AccountError::Field(field) => return field.clone().into(),
            AccountError::NameTaken => Kind::NameTaken,
            AccountError::EmailTaken => Kind::EmailTaken,
            AccountError::WrongCredentials => Kind::WrongCredentials,
            AccountError::Access(_) | AccountError::Refresh(_) => Kind::TokenRefused,
            AccountError::Busy => Kind::Busy,
            AccountError::Store(_) => Kind::StoreAway,
            AccountError::Damaged(_) | AccountError::Hashing => Kind::Internal,
        };
        if kind == Kind::Internal {
            tracing::error!(%error, "a call on accounts failed");
        }
        let problem = ProblemResponse::new(kind, error.to_string());
        match error {
            AccountError::Store(StoreAway::Unknown) => problem.unknown_outcome(),
            AccountError::NameTaken => problem.with_field("name"),
            AccountError::EmailTaken => problem.with_field("email"),
            _ => problem,
        }
    }
}
