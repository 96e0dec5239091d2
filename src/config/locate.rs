//! Owns where a setting stands in a TOML text: figment, which lays the layers
//! over each other, knows no lines, so each text is parsed a second time here.

use toml_edit::{Document, Item, TomlError};

/// A TOML text and its parse, with positions.
pub struct Source {
    document: Document<String>,
}

/// A section and a key in it, where they are written, and the value as it
/// stands there. Without a key when something else stands where a section should.
pub struct Entry<'a> {
    pub section: &'a str,
    pub key: Option<&'a str>,
    pub line: usize,
    pub text: &'a str,
    pub kind: &'static str,
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&b| b == b'\n').count() + 1
}

/// The line and message of a text that is not TOML.
pub fn syntax_error(text: &str, error: &TomlError) -> (usize, String) {
    let at = error.span().map_or(0, |span| span.start);
    (line_of(text, at), error.message().to_string())
}

impl Source {
    /// # Errors
    /// When `text` is not TOML.
    pub fn parse(text: &str) -> Result<Source, TomlError> {
        Ok(Source { document: Document::parse(text.to_string())? })
    }

    pub fn text(&self) -> &str {
        self.document.raw()
    }

    /// All that is written in this text, in its order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.document.iter().flat_map(|(section, item)| self.section_entries(section, item))
    }

    fn section_entries<'a>(&'a self, section: &'a str, item: &'a Item) -> Vec<Entry<'a>> {
        let Some(table) = item.as_table_like() else {
            return vec![self.entry(section, None, item)];
        };
        table.iter().map(|(key, item)| self.entry(section, Some(key), item)).collect()
    }

    fn entry<'a>(&'a self, section: &'a str, key: Option<&'a str>, item: &'a Item) -> Entry<'a> {
        let span = item.span().unwrap_or(0..0);
        let text = self.text().get(span.clone()).unwrap_or("");
        let line = line_of(self.text(), span.start);
        Entry { section, key, line, text, kind: item.type_name() }
    }

    /// Where `section.key` is written, if it is.
    pub fn find(&self, section: &str, key: &str) -> Option<Entry<'_>> {
        self.entries().find(|entry| entry.section == section && entry.key == Some(key))
    }

    /// The keys of `section`, `None` when there is no such section.
    pub fn keys_of(&self, section: &str) -> Option<Vec<&str>> {
        let table = self.document.get(section)?.as_table_like()?;
        Some(table.iter().map(|(key, _)| key).collect())
    }

    /// The names of all sections.
    pub fn sections(&self) -> Vec<&str> {
        self.document.iter().map(|(section, _)| section).collect()
    }
}
