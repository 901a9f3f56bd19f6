//! The newest entries of the stream, kept in memory: most readers want what came just now, and need no broker for it.
//!
//! It holds one unbroken piece up to the newest entry that is known, bounded in number and in bytes; what came before
//! is read from the broker (`page.rs`).

use std::collections::VecDeque;

use paybell_core::ports::{Cursor, EventPage};
use uuid::Uuid;

use super::entry::Entry;
use super::page::Wanted;

const ENTRIES_MAX: usize = 4_096;
const BYTES_MAX: usize = 8 << 20;

/// A piece of the stream that ends with the newest entry.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// What is known about a cursor without asking the broker.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    Page(EventPage),
    /// It lies before what is kept here.
    Older,
    /// It lies beyond the newest entry: this replica may not have it yet.
    Ahead,
    /// Its event is not there.
    Gone,
    /// What follows it is an event of a newer version.
    Newer(Box<Entry>),
}

impl Recent {
    /// Adds the next entry; `false` if it is not after the newest, which a repeat is not.
    pub fn push(&mut self, entry: Entry) -> bool {
        if self.entries.back().is_some_and(|newest| newest.offset >= entry.offset) {
            return false;
        }
        self.bytes += entry.bytes;
        self.entries.push_back(entry);
        while self.entries.len() > 1 && (self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX) {
            let oldest = self.entries.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.bytes);
        }
        true
    }

    /// The newest entry.
    pub fn newest(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// Where the entry with that id lies.
    pub fn position_of(&self, id: Uuid) -> Option<u64> {
        self.entries.iter().rev().find(|entry| entry.id == id).map(|entry| entry.cursor().position)
    }

    /// The page after the cursor.
    pub fn page(&self, after: Cursor, wanted: Wanted<'_>) -> Found {
        let Some(oldest) = self.entries.front() else { return Found::Older };
        if after.position < oldest.cursor().position || after.id.is_nil() {
            return Found::Older;
        }
        match self.entries.binary_search_by_key(&after.position, |entry| entry.cursor().position) {
            Ok(at) if self.entries.get(at).is_some_and(|entry| entry.id == after.id) => {
                let mut page = EventPage { events: Vec::new(), next: after, has_more: false };
                let next = self.entries.range(at + 1..).find(|entry| !wanted.add(&mut page, entry));
                page.has_more = next.is_some();
                match next {
                    Some(next) if page.next == after => Found::Newer(Box::new(next.clone())),
                    _ => Found::Page(page),
                }
            }
            Err(at) if at == self.entries.len() => Found::Ahead,
            Ok(_) | Err(_) => Found::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use paybell_core::event::EventType;
    use paybell_core::ports::EventFilter;

    use super::super::entry::samples::entry;
    use super::*;

    /// Offsets 10, 11, 13, 14; the broker keeps 12 for itself.
    fn recent() -> Recent {
        let mut recent = Recent::default();
        for (offset, kind) in
            [(10, "order.paid"), (11, "order.closed"), (13, "order.paid"), (14, "order.paid")]
        {
            assert!(recent.push(entry(offset, kind)));
        }
        recent
    }

    fn after(offset: u64) -> Cursor {
        entry(offset, "order.paid").cursor()
    }

    fn page(recent: &Recent, after: Cursor, filter: &EventFilter, limit: usize) -> (Vec<u64>, u64, bool) {
        match recent.page(after, Wanted { filter, limit }) {
            Found::Page(page) => {
                let offsets = page.events.iter().map(|(cursor, _)| cursor.position - 1).collect();
                (offsets, page.next.position - 1, page.has_more)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_page_goes_on_where_its_cursor_says() {
        let (recent, all) = (recent(), EventFilter::default());
        assert_eq!(page(&recent, after(10), &all, 10), (vec![11, 13, 14], 14, false));
        assert_eq!(page(&recent, after(10), &all, 2), (vec![11, 13], 13, true));
        assert_eq!(page(&recent, after(10), &all, 3), (vec![11, 13, 14], 14, false));
        assert_eq!(page(&recent, after(14), &all, 10), (vec![], 14, false));
        let closed = EventFilter { kind: Some(EventType::Closed), mch_id: None };
        assert_eq!(page(&recent, after(10), &closed, 1), (vec![11], 14, false));
    }

    #[test]
    fn what_is_not_kept_is_older_or_ahead_and_what_was_never_there_is_gone() {
        let (recent, filter) = (recent(), EventFilter::default());
        let found = |cursor| recent.page(cursor, Wanted { filter: &filter, limit: 10 });
        assert_eq!(found(after(9)), Found::Older);
        assert_eq!(found(Cursor::START), Found::Older);
        assert_eq!(found(after(12)), Found::Gone);
        assert_eq!(found(after(15)), Found::Ahead, "another node may be further");
        assert_eq!(found(Cursor { id: Uuid::from_u128(99), ..after(13) }), Found::Gone);
        assert_eq!(Recent::default().page(after(1), Wanted { filter: &filter, limit: 1 }), Found::Older);
    }

    #[test]
    fn a_page_ends_before_an_event_of_a_newer_version() {
        let (mut recent, all) = (recent(), EventFilter::default());
        let newer = Entry { event: None, newer: Some("order.paid".to_owned()), ..entry(15, "order.paid") };
        assert!(recent.push(newer.clone()));
        assert!(recent.push(entry(16, "order.paid")));
        assert_eq!(page(&recent, after(13), &all, 10), (vec![14], 14, true));
        let found = |filter| recent.page(after(14), Wanted { filter, limit: 10 });
        assert_eq!(found(&all), Found::Newer(Box::new(newer)));
        let closed = EventFilter { kind: Some(EventType::Closed), mch_id: None };
        assert_eq!(page(&recent, after(14), &closed, 10), (vec![], 16, false), "it is certainly not wanted");
        assert_eq!(page(&recent, after(10), &closed, 10), (vec![11], 16, false));
        assert_eq!(page(&recent, after(15), &all, 10), (vec![16], 16, false));
    }

    #[test]
    fn it_is_bounded_in_number_and_in_bytes() {
        let mut recent = Recent::default();
        for offset in 0..ENTRIES_MAX as u64 + 10 {
            assert!(recent.push(entry(offset, "order.paid")));
        }
        assert_eq!((recent.entries.len(), recent.entries[0].offset), (ENTRIES_MAX, 10));
        assert_eq!(recent.bytes, ENTRIES_MAX * 1_000);
        let huge = Entry { bytes: BYTES_MAX, ..entry(9_999, "order.paid") };
        assert!(recent.push(huge));
        assert_eq!((recent.entries.len(), recent.bytes), (1, BYTES_MAX), "the newest always stays");
    }

    #[test]
    fn a_repeat_is_no_next_entry() {
        let mut recent = recent();
        assert!(!recent.push(entry(14, "order.paid")));
        assert_eq!(recent.newest().map(|newest| newest.offset), Some(14));
        assert_eq!(recent.entries.len(), 4);
        assert_eq!(recent.position_of(after(13).id), Some(14));
        assert_eq!(recent.position_of(after(12).id), None);
    }
}
