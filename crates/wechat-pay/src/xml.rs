//! Reads the flat XML of WeChat Pay v2: one root, one level of children, one value per name.
//!
//! Refuses what the protocol never sends and an attacker might: DTDs, entities beyond the five, processing
//! instructions, attributes, nesting, duplicate names, stray text, other encodings. Values are kept exactly as XML
//! defines them, because the signature covers them; they go to [`crate::sign`] and to the readers of each document.

mod writer;

use std::borrow::Cow;
use std::fmt;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};

pub use writer::write;

/// Longest document that is read, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most fields that a document may have.
pub const FIELDS_MAX: usize = 128;

/// Most fields of an answer that lists things: ten refunds of fifteen coupons each.
pub(crate) const LISTING_FIELDS_MAX: usize = 1024;

const FIELDS_USUAL: usize = 24;
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// A flat document: its fields in document order, values borrowed from the body wherever XML allows it.
pub struct Document<'a> {
    fields: Vec<Field<'a>>,
}

impl<'a> Document<'a> {
    /// Reads a document whose root is `xml`, as every request, answer and notification has it.
    pub fn parse(body: &'a [u8]) -> Result<Self, XmlError> {
        Self::parse_with_root(body, "xml")
    }

    /// Reads a document with another root; the decrypted `req_info` of a refund notification has `root`.
    pub fn parse_with_root(body: &'a [u8], root: &str) -> Result<Self, XmlError> {
        Self::read(body, root, FIELDS_MAX)
    }

    /// Reads an answer that lists things: the same document, but with up to [`LISTING_FIELDS_MAX`] fields.
    pub(crate) fn parse_listing(body: &'a [u8]) -> Result<Self, XmlError> {
        Self::read(body, "xml", LISTING_FIELDS_MAX)
    }

    fn read(body: &'a [u8], root: &str, fields_max: usize) -> Result<Self, XmlError> {
        let text = decode(body)?;
        let mut reader = Reader::from_str(text);
        let fields = Vec::with_capacity(FIELDS_USUAL);
        let mut machine = Machine { text, root, fields_max, state: State::Prolog, fields };
        loop {
            let event = reader.read_event().map_err(|_| XmlError::Invalid)?;
            if matches!(event, Event::Eof) {
                return machine.finish();
            }
            let end = usize::try_from(reader.buffer_position()).map_err(|_| XmlError::TooLarge)?;
            machine.take(event, end)?;
        }
    }

    /// The value of a field: `None` if it is absent, `Some("")` if it is empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.name == name).map(|field| &*field.value)
    }

    /// Name and value of every field, in document order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| (field.name, &*field.value))
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Never true: a document without fields is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// Names only: values hold openids and signatures.
impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document ")?;
        f.debug_list().entries(self.fields.iter().map(|field| field.name)).finish()
    }
}

/// Why bytes are not a document of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    #[error("the body is longer than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the body is empty")]
    Empty,
    #[error("the body is not UTF-8 or declares another encoding")]
    Encoding,
    #[error("the document has a DOCTYPE")]
    Dtd,
    #[error("a field occurs twice")]
    DuplicateField,
    #[error("a field contains an element")]
    Nested,
    #[error("the root element has another name")]
    UnexpectedRoot,
    #[error("there is text between the fields")]
    UnexpectedText,
    #[error("the document has no fields")]
    EmptyDocument,
    #[error("the document has too many fields")]
    TooManyFields,
    /// API v3 notifications are JSON: the `notify_url` of a v3 order points here.
    #[error("the body is JSON (API v3), not XML (API v2)")]
    Json,
    #[error("the body is not well-formed XML, or uses XML that this protocol has no use for")]
    Invalid,
}

impl XmlError {
    /// A stable word for counters and logs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge | Self::TooManyFields => "too_large",
            Self::Encoding => "invalid_encoding",
            Self::Dtd => "dtd_forbidden",
            Self::DuplicateField => "duplicate_field",
            Self::Nested => "nested_element",
            Self::UnexpectedRoot => "unexpected_root",
            Self::UnexpectedText => "unexpected_text",
            Self::EmptyDocument => "empty_document",
            Self::Json => "json_body",
            Self::Empty | Self::Invalid => "invalid_xml",
        }
    }
}

struct Field<'a> {
    name: &'a str,
    value: Cow<'a, str>,
}

/// Where the reader stands; an open field collects its value in pieces, since text, CDATA and references come apart.
enum State<'a> {
    Prolog,
    BeforeRoot,
    InRoot,
    InField { name: &'a str, value: Cow<'a, str> },
    AfterRoot,
}

struct Machine<'a, 'r> {
    text: &'a str,
    root: &'r str,
    fields_max: usize,
    state: State<'a>,
    fields: Vec<Field<'a>>,
}

impl<'a> Machine<'a, '_> {
    fn take(&mut self, event: Event<'a>, end: usize) -> Result<(), XmlError> {
        match event {
            Event::Start(tag) => self.open(&tag, end),
            Event::Empty(tag) => self.open(&tag, end.saturating_sub(1)).and_then(|()| self.close()),
            Event::End(_) => self.close(),
            Event::Text(text) if text.contains("]]>") => Err(XmlError::Invalid),
            Event::Text(text) => self.text(text.xml10_content(), true),
            Event::CData(text) => self.text(text.xml10_content(), false),
            Event::GeneralRef(reference) => self.reference(&reference),
            Event::Comment(_) => self.comment(),
            Event::Decl(declaration) => self.declaration(&declaration),
            Event::DocType(_) => Err(XmlError::Dtd),
            Event::PI(_) | Event::Eof => Err(XmlError::Invalid),
        }
    }

    /// `end` is the place behind the tag's `>` (or `/` of an empty one), from which the name's place follows.
    fn open(&mut self, tag: &BytesStart<'_>, end: usize) -> Result<(), XmlError> {
        let start = end.checked_sub(tag.len() + 1).ok_or(XmlError::Invalid)?;
        let name = self.text.get(start..start + tag.name().as_ref().len()).ok_or(XmlError::Invalid)?;
        match self.state {
            State::Prolog | State::BeforeRoot if name != self.root => return Err(XmlError::UnexpectedRoot),
            State::InField { .. } => return Err(XmlError::Nested),
            State::AfterRoot => return Err(XmlError::Invalid),
            State::Prolog | State::BeforeRoot | State::InRoot => {}
        }
        if !tag.attributes_raw().trim_matches(BLANKS).is_empty() || !is_name(name) {
            return Err(XmlError::Invalid);
        }
        self.state = match self.state {
            State::InRoot => State::InField { name, value: Cow::Borrowed("") },
            _ => State::InRoot,
        };
        Ok(())
    }

    fn close(&mut self) -> Result<(), XmlError> {
        match std::mem::replace(&mut self.state, State::AfterRoot) {
            State::InField { name, value } => {
                if self.fields.iter().any(|field| field.name == name) {
                    return Err(XmlError::DuplicateField);
                }
                if self.fields.len() == self.fields_max {
                    return Err(XmlError::TooManyFields);
                }
                self.fields.push(Field { name, value });
                self.state = State::InRoot;
                Ok(())
            }
            State::InRoot => Ok(()),
            State::Prolog | State::BeforeRoot | State::AfterRoot => Err(XmlError::Invalid),
        }
    }

    fn text(&mut self, piece: Cow<'a, str>, blanks_between_fields: bool) -> Result<(), XmlError> {
        let blank = blanks_between_fields && piece.trim_matches(BLANKS).is_empty();
        match &mut self.state {
            State::InField { value, .. } if value.is_empty() => *value = piece,
            State::InField { value, .. } => value.to_mut().push_str(&piece),
            _ if blank => {}
            State::InRoot => return Err(XmlError::UnexpectedText),
            State::Prolog | State::BeforeRoot | State::AfterRoot => return Err(XmlError::Invalid),
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), XmlError> {
        let resolved = match reference.resolve_char_ref().map_err(|_| XmlError::Invalid)? {
            Some(character) if is_character(character) => Cow::Owned(String::from(character)),
            Some(_) => return Err(XmlError::Invalid),
            None => Cow::Borrowed(resolve_xml_entity(reference).ok_or(XmlError::Invalid)?),
        };
        self.text(resolved, false)
    }

    /// A comment inside a value is legal XML, but readers differ on it, and a signed value must not depend on that.
    fn comment(&mut self) -> Result<(), XmlError> {
        match self.state {
            State::Prolog => self.state = State::BeforeRoot,
            State::InField { .. } => return Err(XmlError::Invalid),
            State::BeforeRoot | State::InRoot | State::AfterRoot => {}
        }
        Ok(())
    }

    fn declaration(&mut self, declaration: &BytesDecl<'_>) -> Result<(), XmlError> {
        if !matches!(self.state, State::Prolog) {
            return Err(XmlError::Invalid);
        }
        self.state = State::BeforeRoot;
        if declaration.version().map_err(|_| XmlError::Invalid)? != "1.0" {
            return Err(XmlError::Invalid);
        }
        match declaration.encoding() {
            None => Ok(()),
            Some(Ok(encoding)) if encoding.eq_ignore_ascii_case("utf-8") => Ok(()),
            Some(Ok(_)) => Err(XmlError::Encoding),
            Some(Err(_)) => Err(XmlError::Invalid),
        }
    }

    /// The reader itself accepts a document that ends inside an element.
    fn finish(self) -> Result<Document<'a>, XmlError> {
        match self.state {
            State::AfterRoot if self.fields.is_empty() => Err(XmlError::EmptyDocument),
            State::AfterRoot => Ok(Document { fields: self.fields }),
            _ => Err(XmlError::Invalid),
        }
    }
}

/// Size, encoding and first character, judged before the reader sees anything.
fn decode(body: &[u8]) -> Result<&str, XmlError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(XmlError::TooLarge);
    }
    let text = std::str::from_utf8(body).map_err(|_| XmlError::Encoding)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim_start_matches(BLANKS).chars().next() {
        None => return Err(XmlError::Empty),
        Some('{' | '[') => return Err(XmlError::Json),
        Some('<') => {}
        Some(_) => return Err(XmlError::Invalid),
    }
    if text.bytes().any(|byte| byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n')) {
        // UTF-16 without a mark is valid UTF-8 full of NULs.
        return Err(if text.contains('\0') { XmlError::Encoding } else { XmlError::Invalid });
    }
    Ok(text)
}

/// Names without `&`, `=` or blanks, which would shift the borders of the signed text.
fn is_name(name: &str) -> bool {
    let start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii();
    name.bytes().next().is_some_and(start)
        && name.bytes().all(|byte| start(byte) || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}

/// Whether XML 1.0 can carry the text at all, so that a reader gets what was signed.
pub(crate) fn can_carry(text: &str) -> bool {
    text.chars().all(is_character)
}

/// Characters that XML 1.0 can carry.
pub(crate) fn is_character(character: char) -> bool {
    !matches!(character, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests;
