//! Owns the admin calls that verify the audit log: one begins it, one says what
//! came of it. Never verifies anything itself.

use actix_web::web::Json;

use super::Admin;
use crate::actors::steering::{Audited, Findings};
use crate::entity::audit::chain::{Chain, KeptHead};
use crate::protocol::http;
use crate::protocol::http::admin;

#[utoipa::path(
    post, path = http::ADMIN_AUDIT_PATH, tag = "admin",
    responses(
        (status = 200, description = "It runs; what came of it is told at `/api/admin/audit/last`", body = admin::Audit),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "This gateway has no cluster yet", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// Has this node verify the audit log in the background, unless it does already.
pub async fn audit(Admin(steering): Admin) -> Json<admin::Audit> {
    Json(told(steering.auditing.start()))
}

#[utoipa::path(
    get, path = http::ADMIN_AUDITED_PATH, tag = "admin",
    responses(
        (status = 200, description = "What this node is about to find, or found last", body = admin::Audit),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "This gateway has no cluster yet", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// What came of the last verification of the audit log by this node.
pub async fn audited(Admin(steering): Admin) -> Json<admin::Audit> {
    Json(told(steering.auditing.last()))
}

fn told(audited: Audited) -> admin::Audit {
    let nothing = admin::Audit {
        state: String::new(),
        began: None,
        ended: None,
        read: 0,
        why: None,
        authorities: false,
        logs: Vec::new(),
    };
    let state = |state: &str| state.to_owned();
    match audited {
        Audited::Never => admin::Audit { state: state("never"), ..nothing },
        Audited::Running { began, read } => {
            admin::Audit { state: state("running"), began: Some(began.0), read, ..nothing }
        }
        Audited::Failed { why } => {
            admin::Audit { state: state("failed"), why: Some(why), ..nothing }
        }
        Audited::Done(found) => {
            let Findings { began, ended, read, authorities, ref chains } = *found;
            let logs = chains.iter().map(log).collect();
            let (began, ended) = (Some(began.0), Some(ended.0));
            admin::Audit { state: state("done"), began, ended, read, why: None, authorities, logs }
        }
    }
}

fn log(chain: &Chain) -> admin::AuditedLog {
    let head = |it: &KeptHead| admin::AuditHead {
        incarnation: it.incarnation,
        number: it.number,
        root: it.root.clone(),
    };
    admin::AuditedLog {
        node: chain.node.0,
        entries: chain.entries,
        signatures: chain.signatures,
        witnessed: chain.witnessed,
        unsigned: chain.unsigned,
        unsigned_since: chain.unsigned_since.map(|at| at.0),
        head: chain.head.as_ref().map(head),
        problem: chain.problem.as_ref().map(ToString::to_string),
    }
}
