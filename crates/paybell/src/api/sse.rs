//! Server-sent events, taken apart: bytes in any pieces go in, whole events come out. Keeps the last id, as a reader
//! must to continue after a break; connecting again is up to the caller.

/// Longer lines than any event has; a stream that sends one is not ours.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerSent {
    /// `event:`; empty if the stream named none.
    pub kind: String,
    pub data: String,
}

/// The state between two pieces.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// A line may end in CR LF, and the two may come in different pieces.
    after_cr: bool,
    building: ServerSent,
    has_data: bool,
    /// Of the block that is being read: it counts once the block is whole, or a cut event would be skipped.
    next_id: Option<String>,
    last_id: Option<String>,
}

/// A line beyond every bound.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl Parser {
    /// For a new connection that continues after `last_id`.
    pub fn after(last_id: Option<String>) -> Self {
        Self { next_id: last_id.clone(), last_id, ..Self::default() }
    }

    /// The id to continue after.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Takes a piece, gives the events that it completes.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Vec<ServerSent>, TooLong> {
        let mut complete = Vec::new();
        for byte in piece {
            match byte {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' | b'\r' => {
                    self.after_cr = *byte == b'\r';
                    complete.extend(self.end_line());
                }
                _ if self.line.len() >= LINE_BYTES_MAX => return Err(TooLong),
                byte => {
                    self.after_cr = false;
                    self.line.push(*byte);
                }
            }
        }
        Ok(complete)
    }

    fn end_line(&mut self) -> Option<ServerSent> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if line.is_empty() {
            self.last_id.clone_from(&self.next_id);
            let event = std::mem::take(&mut self.building);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" if !value.contains('\0') => {
                self.next_id = Some(value.to_owned()).filter(|id| !id.is_empty())
            }
            "event" => value.clone_into(&mut self.building.kind),
            "data" => {
                if self.has_data {
                    self.building.data.push('\n');
                }
                self.building.data.push_str(value);
                self.has_data = true;
            }
            // Comments have no name; other fields are none of ours.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nid: c1\nevent: order.paid\ndata: {\"a\":1}\n\n:\n\nid: c2\r\nevent: x\r\ndata: one\r\ndata: two\r\n\r\n";

    #[test]
    fn events_come_whole_however_the_pieces_fall() {
        let expected = [
            ServerSent { kind: "order.paid".to_owned(), data: "{\"a\":1}".to_owned() },
            ServerSent { kind: "x".to_owned(), data: "one\ntwo".to_owned() },
        ];
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let events: Vec<_> =
                STREAM.as_bytes().chunks(size).flat_map(|piece| parser.feed(piece).unwrap()).collect();
            assert_eq!(events, expected, "pieces of {size}");
            assert_eq!(parser.last_id(), Some("c2"));
        }
    }

    #[test]
    fn an_id_alone_moves_the_place_without_an_event() {
        let mut parser = Parser::after(Some("c1".to_owned()));
        assert_eq!(parser.feed(b"id: c9\n\n"), Ok(vec![]));
        assert_eq!(parser.last_id(), Some("c9"));
    }

    #[test]
    fn an_event_that_is_cut_does_not_move_the_place() {
        let mut parser = Parser::after(Some("c1".to_owned()));
        assert_eq!(parser.feed(b"id: c2\ndata: half of i"), Ok(vec![]));
        assert_eq!(parser.last_id(), Some("c1"));
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(&vec![b'x'; LINE_BYTES_MAX + 1]), Err(TooLong));
    }
}
