//! Owns what the calls that read take from path and query: raw text in, what
//! cannot be wrong out, or the field and what was expected.

use std::str::FromStr;

use actix_web::HttpRequest;
use actix_web::error::QueryPayloadError;

use crate::base::SectorId;
use crate::gateway::accounts::fields::FieldError;
use crate::gateway::http::{Kind, ProblemResponse};
use crate::sim::galaxy::Rectangle;

/// Entries of a page when nobody says how many.
pub const LIMIT: usize = 100;
/// And at most.
pub const LIMIT_MAX: usize = 500;

/// The answer to a query string that is not what a call takes.
pub fn refuse(error: QueryPayloadError, _: &HttpRequest) -> actix_web::Error {
    ProblemResponse::new(Kind::InvalidField, format!("the query: {error}")).into()
}

/// What is wrong with a field.
pub fn invalid(field: &'static str, expected: &'static str) -> ProblemResponse {
    FieldError { field, expected }.into()
}

/// The value of a field that may be absent.
pub fn parse<T: FromStr>(
    field: &'static str,
    text: Option<&str>,
    expected: &'static str,
) -> Result<Option<T>, ProblemResponse> {
    text.map(|text| text.parse().map_err(|_| invalid(field, expected))).transpose()
}

/// A sector written `X,Y,SCALE`.
pub fn sector(field: &'static str, text: &str) -> Result<SectorId, ProblemResponse> {
    text.parse().map_err(|_| invalid(field, "X,Y,SCALE, whole numbers, SCALE 0 to 255"))
}

/// How many entries a page has.
pub fn limit(text: Option<&str>) -> Result<usize, ProblemResponse> {
    let expected = "1 to 500";
    let limit = parse("limit", text, expected)?.unwrap_or(LIMIT);
    if (1..=LIMIT_MAX).contains(&limit) { Ok(limit) } else { Err(invalid("limit", expected)) }
}

/// A page's number to go on from.
pub fn cursor(text: Option<&str>) -> Result<u64, ProblemResponse> {
    Ok(parse("cursor", text, "what `next` of an answer said")?.unwrap_or(0))
}

/// Corners `X,Y,X,Y` of sectors of `scale`, both included, as scale-0 sectors.
pub fn rectangle(text: &str, scale: u8) -> Result<Rectangle, ProblemResponse> {
    let expected = "X,Y,X,Y: the first and the last column and row";
    let wrong = || invalid("rectangle", expected);
    let numbers: Result<Vec<i64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    let Ok([ax, ay, bx, by]) = <[i64; 4]>::try_from(numbers.map_err(|_| wrong())?) else {
        return Err(wrong());
    };
    if ax > bx || ay > by {
        return Err(wrong());
    }
    let side = 1_i64
        .checked_shl(scale.into())
        .filter(|_| scale < 40)
        .ok_or_else(|| invalid("scale", "0 to 39"))?;
    // What is too large for a number is outside of any galaxy all the same.
    let first = |v: i64| v.saturating_mul(side);
    let last = |v: i64| v.saturating_mul(side).saturating_add(side - 1);
    Ok(Rectangle { from: (first(ax), first(ay)), to: (last(bx), last(by)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectangle_of_large_sectors_covers_all_they_contain() {
        let covered = |text, scale| rectangle(text, scale).ok().map(|r| (r.from, r.to));
        assert_eq!(covered("1,2,3,4", 0), Some(((1, 2), (3, 4))));
        assert_eq!(covered(" 1, 0,1,0 ", 4), Some(((16, 0), (31, 15))));
        assert_eq!(covered("0,0,0,9223372036854775807", 4), Some(((0, 0), (15, i64::MAX))));
        for wrong in ["", "1,2,3", "1,2,3,4,5", "3,2,1,4", "a,b,c,d"] {
            assert_eq!(covered(wrong, 0), None, "{wrong}");
        }
        assert_eq!(covered("0,0,1,1", 40), None);
    }

    #[test]
    fn a_page_has_1_to_500_entries() {
        assert_eq!(limit(None).ok(), Some(LIMIT));
        assert_eq!(limit(Some("500")).ok(), Some(500));
        for wrong in ["0", "501", "-1", "x"] {
            assert!(limit(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
