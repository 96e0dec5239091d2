//! Owns the error that the codecs' readers share: the path of a field and what
//! was expected there, which the formats' own readers do not keep.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use super::DecodeError;

/// What was wrong where. The path grows from the inside out.
#[derive(Debug)]
pub struct ReadError {
    path: String,
    expected: String,
}

impl ReadError {
    pub fn new(expected: impl Display) -> ReadError {
        ReadError { path: String::new(), expected: expected.to_string() }
    }

    /// Neither of the variants of an enum.
    pub fn one_of(variants: &[&str]) -> ReadError {
        ReadError::new(format_args!("one of {}", variants.join(", ")))
    }

    fn at(field: &str, expected: impl Display) -> ReadError {
        ReadError { path: field.into(), expected: expected.to_string() }
    }

    /// The same, one level further out.
    pub fn within(mut self, outer: &str) -> ReadError {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{outer}{dot}{}", self.path);
        self
    }

    /// The same, in the list's element of this number.
    pub fn within_element(self, index: usize) -> ReadError {
        self.within(&format!("[{index}]"))
    }
}

impl From<ReadError> for DecodeError {
    fn from(error: ReadError) -> DecodeError {
        DecodeError::Field { field: error.path, expected: error.expected }
    }
}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}", self.path, self.expected)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: Display>(message: T) -> ReadError {
        ReadError::new(message)
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> ReadError {
        ReadError::new(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> ReadError {
        ReadError::new(expected)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> ReadError {
        ReadError::new(expected)
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> ReadError {
        ReadError::one_of(expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> ReadError {
        let field: String = field.chars().take(64).collect();
        if expected.is_empty() {
            return ReadError::at(&field, "no such field");
        }
        ReadError::at(&field, format_args!("only {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> ReadError {
        ReadError::at(field, "the field to be there")
    }

    fn duplicate_field(field: &'static str) -> ReadError {
        ReadError::at(field, "the field once")
    }
}
