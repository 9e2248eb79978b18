//! A lane: a chain of descriptor tables of which exactly one accepts at a time.
//!
//! The listeners stay open for all tables of the lane, so nothing that is queued is reset when a full table
//! hands the turn on.
//!
//! # Whose turn it is
//!
//! ```text
//!                       take_waiting_turn: it has started
//!              ┌────────────────────────────────────────────────────┐
//!              │     start_failed: a table has some room            │
//!              │   ┌──────────────────────────────────────────────┐ │
//!              │   │                                              v v
//!          ┌──────────┐   pass_turn: no table has much room     ┌───────┐   pass_turn: another
//!   ─────> │ starting │ <────────────────────────────────────── │ table │ ──┐ has much room
//!          └──────────┘                                         └───────┘ <─┘
//!              │   ^                                                ^
//!              │   │ reclaim_for_new: the keeper tries again        │
//!              v   │                                                │
//!          ┌──────────┐   take_free_turn: a table has room          │
//!          │  nobody  │ ────────────────────────────────────────────┘
//!          └──────────┘
//!              ^ start_failed: all tables are full
//! ```
//!
//! The table that has the turn accepts, or waits with it: see `Turn` in `worker.rs`.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use c10k_kernel::bell::Bell;

use crate::listen::Listener;

/// Nobody has the turn: no table has room and none could be started.
const NOBODY: u32 = u32::MAX;
/// A table is being started and will take the turn.
const STARTING: u32 = u32::MAX - 1;

/// One accepting lane.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) listeners: Vec<Listener>,
    /// Rings at every table of the lane: look whose turn it is, and whether the server ends.
    pub(crate) bell: Bell,
    /// Rings at the table that has the turn and waits for a slot under `--max-connections`.
    pub(crate) slot_bell: Bell,
    waits_for_slot: AtomicBool,
    /// Nobody has had the turn since that was last told.
    pause_told: AtomicBool,
    holder: AtomicU32,
    tables: Mutex<Vec<Arc<LaneTable>>>,
}

/// What the other tables of a lane may know of a table.
#[derive(Debug)]
pub(crate) struct LaneTable {
    /// Its number within the lane.
    pub(crate) number: u32,
    capacity: AtomicU32,
    open: AtomicU32,
}

/// Who accepts next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A table that was there already and has been told.
    Present,
    /// None: the keeper has to start one.
    New,
}

impl Lane {
    /// A lane whose first table is about to be started.
    ///
    /// # Errors
    /// As eventfd(2).
    pub(crate) fn new(listeners: Vec<Listener>) -> io::Result<Self> {
        Ok(Self {
            listeners,
            bell: Bell::new()?,
            slot_bell: Bell::new()?,
            waits_for_slot: AtomicBool::new(false),
            pause_told: AtomicBool::new(false),
            holder: AtomicU32::new(STARTING),
            tables: Mutex::default(),
        })
    }

    /// Adds a table that is about to start: it has no room until it says so.
    pub(crate) fn add_table(&self) -> Arc<LaneTable> {
        let mut tables = self.tables();
        let number = tables.len() as u32;
        let table = Arc::new(LaneTable { number, capacity: AtomicU32::new(0), open: AtomicU32::new(0) });
        tables.push(Arc::clone(&table));
        table
    }

    /// Whether it is this table's turn.
    pub(crate) fn is_turn_of(&self, table: &LaneTable) -> bool {
        self.holder.load(Ordering::Acquire) == table.number
    }

    /// A table that has just started takes the turn that waits for it.
    pub(crate) fn take_waiting_turn(&self, table: &LaneTable) -> bool {
        self.take_turn_from(STARTING, table)
    }

    /// Whether a table that hears the bell accepts from now on: it has been given the turn, or nobody has it and it
    /// has room. Room may appear after the keeper found none but before it published [`NOBODY`], so every table
    /// re-checks at the bell.
    pub(crate) fn takes_turn_at_bell(&self, table: &LaneTable) -> bool {
        self.is_turn_of(table) || (table.room() > 0 && self.take_free_turn(table))
    }

    /// A table with new room takes the turn if nobody has it.
    pub(crate) fn take_free_turn(&self, table: &LaneTable) -> bool {
        self.take_turn_from(NOBODY, table)
    }

    /// The holder is full: the turn goes to the table with the most room, if one has enough of it that the turn
    /// does not come back at once, else to one that is yet to be started.
    pub(crate) fn pass_turn(&self) -> Next {
        let tables = self.tables();
        let roomy = tables.iter().filter(|table| table.room() > table.capacity() / 8);
        let next = match roomy.max_by_key(|table| table.room()) {
            Some(table) => {
                self.holder.store(table.number, Ordering::Release);
                Next::Present
            }
            None => {
                self.holder.store(STARTING, Ordering::Release);
                Next::New
            }
        };
        drop(tables);
        if next == Next::Present {
            self.bell.ring();
        }
        next
    }

    /// The table that should have taken the turn could not be started: any table with room does, else the
    /// first in which a connection closes. True when the lane has come to a pause, once until it has ended.
    pub(crate) fn start_failed(&self) -> bool {
        let next = self.roomiest();
        let is_paused = next.is_none();
        // Before somebody can take the turn and end the pause.
        let was_told = self.pause_told.swap(is_paused, Ordering::Relaxed);
        self.give_turn_to(next);
        is_paused && !was_told
    }

    /// The number of the table with the most room; `None` when all are full.
    fn roomiest(&self) -> Option<u32> {
        let tables = self.tables();
        let next = tables.iter().max_by_key(|table| table.room()).filter(|table| table.room() > 0);
        next.map(|table| table.number)
    }

    /// Gives the turn to this table, or to the first one that can take it, and rings at all of them.
    fn give_turn_to(&self, next: Option<u32>) {
        self.holder.store(next.unwrap_or(NOBODY), Ordering::Release);
        self.bell.ring();
    }

    /// Whether nobody has the turn, in which case the keeper may try again to start a table:
    /// the turn then waits for it.
    pub(crate) fn reclaim_for_new(&self) -> bool {
        self.replace_holder(NOBODY, STARTING)
    }

    /// The holder is about to wait for a slot. It must look for one once more after this call.
    pub(crate) fn wait_for_slot(&self) {
        self.waits_for_slot.store(true, Ordering::SeqCst);
    }

    /// Wakes the holder if it waits for a slot.
    pub(crate) fn slot_is_free(&self) {
        if self.waits_for_slot.load(Ordering::SeqCst) && self.waits_for_slot.swap(false, Ordering::SeqCst) {
            self.slot_bell.ring();
        }
    }

    fn take_turn_from(&self, nobody: u32, table: &LaneTable) -> bool {
        let has_it = self.replace_holder(nobody, table.number);
        if has_it {
            self.pause_told.store(false, Ordering::Relaxed);
        }
        has_it
    }

    fn replace_holder(&self, from: u32, to: u32) -> bool {
        self.holder.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn tables(&self) -> MutexGuard<'_, Vec<Arc<LaneTable>>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneTable {
    /// How many connections the table can hold; 0 until it has started.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity.load(Ordering::Relaxed)
    }

    /// The table has started and can hold so many.
    pub(crate) fn set_capacity(&self, connections: u32) {
        self.capacity.store(connections, Ordering::Relaxed);
    }

    /// The table now holds so many.
    pub(crate) fn set_open(&self, connections: u32) {
        self.open.store(connections, Ordering::Relaxed);
    }

    fn room(&self) -> u32 {
        self.capacity().saturating_sub(self.open.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane_with(rooms: &[(u32, u32)]) -> (Lane, Vec<Arc<LaneTable>>) {
        let lane = Lane::new(Vec::new()).unwrap();
        let tables = rooms.iter().map(|&(capacity, open)| {
            let table = lane.add_table();
            table.set_capacity(capacity);
            table.set_open(open);
            table
        });
        let tables = tables.collect();
        (lane, tables)
    }

    /// Whose turn it is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Holder {
        Starting,
        Nobody,
        Table(u32),
    }

    fn holder(lane: &Lane) -> Holder {
        match lane.holder.load(Ordering::Acquire) {
            STARTING => Holder::Starting,
            NOBODY => Holder::Nobody,
            number => Holder::Table(number),
        }
    }

    /// A worker that tries to take a turn that is not there for it fails and changes nothing.
    fn expect(lane: &Lane, tables: &[Arc<LaneTable>], expected: Holder) {
        assert_eq!(holder(lane), expected);
        for table in tables {
            let is_its = expected == Holder::Table(table.number);
            assert_eq!(lane.is_turn_of(table), is_its);
            assert!(expected == Holder::Starting || !lane.take_waiting_turn(table));
            if expected != Holder::Nobody {
                assert!(!lane.take_free_turn(table));
                assert_eq!(lane.takes_turn_at_bell(table), is_its);
            } else if table.room() == 0 {
                assert!(!lane.takes_turn_at_bell(table));
            }
        }
        assert!(expected == Holder::Nobody || !lane.reclaim_for_new());
        assert_eq!(holder(lane), expected);
    }

    #[test]
    fn the_turn_goes_every_way_of_the_diagram_and_no_other() {
        let (lane, mut tables) = lane_with(&[(100, 0)]);
        expect(&lane, &tables, Holder::Starting);
        assert!(lane.take_waiting_turn(&tables[0]), "it has started");
        expect(&lane, &tables, Holder::Table(0));
        tables[0].set_open(100);
        assert_eq!(lane.pass_turn(), Next::New, "no table has much room");
        expect(&lane, &tables, Holder::Starting);
        tables.push(lane.add_table());
        tables[1].set_capacity(100);
        assert!(lane.take_waiting_turn(&tables[1]), "it has started");
        tables[1].set_open(100);
        tables[0].set_open(20);
        assert_eq!(lane.pass_turn(), Next::Present, "another has much room");
        expect(&lane, &tables, Holder::Table(0));
        tables[0].set_open(100);
        assert_eq!(lane.pass_turn(), Next::New);
        assert!(lane.start_failed(), "all tables are full");
        expect(&lane, &tables, Holder::Nobody);
        assert!(lane.reclaim_for_new(), "the keeper tries again");
        expect(&lane, &tables, Holder::Starting);
        tables[1].set_open(99);
        assert!(!lane.start_failed(), "a table has some room");
        expect(&lane, &tables, Holder::Table(1));
        tables[1].set_open(100);
        assert_eq!(lane.pass_turn(), Next::New);
        assert!(lane.start_failed());
        tables[0].set_open(99);
        assert!(lane.take_free_turn(&tables[0]), "a table has room");
        expect(&lane, &tables, Holder::Table(0));
    }

    #[test]
    fn the_turn_goes_to_an_older_table_that_has_emptied() {
        let (lane, tables) = lane_with(&[(100, 100), (100, 20), (100, 60)]);
        assert!(lane.take_waiting_turn(&tables[0]));
        assert_eq!(lane.pass_turn(), Next::Present);
        assert!(lane.is_turn_of(&tables[1]) && !lane.is_turn_of(&tables[0]));
    }

    #[test]
    fn a_little_room_is_not_worth_a_turn_and_a_new_table_is_started() {
        let (lane, tables) = lane_with(&[(100, 100), (100, 95)]);
        assert!(lane.take_waiting_turn(&tables[0]));
        assert_eq!(lane.pass_turn(), Next::New);
        let fresh = lane.add_table();
        assert!(lane.take_waiting_turn(&fresh) && lane.is_turn_of(&fresh));
    }

    #[test]
    fn when_no_table_can_be_started_a_little_room_will_do() {
        let (lane, tables) = lane_with(&[(100, 100), (100, 95)]);
        assert!(lane.take_waiting_turn(&tables[0]));
        lane.pass_turn();
        assert!(!lane.start_failed());
        assert!(lane.is_turn_of(&tables[1]));
    }

    #[test]
    fn a_lane_that_has_paused_goes_on_with_the_first_table_that_has_room() {
        let (lane, tables) = lane_with(&[(100, 100), (100, 100)]);
        assert!(lane.take_waiting_turn(&tables[0]));
        lane.pass_turn();
        assert!(lane.start_failed());
        assert!(lane.take_free_turn(&tables[1]) && !lane.take_free_turn(&tables[0]));
        assert!(!lane.reclaim_for_new());
    }

    #[test]
    fn a_pause_is_told_once_however_often_a_table_is_tried_in_vain() {
        let (lane, tables) = lane_with(&[(100, 100)]);
        assert!(lane.take_waiting_turn(&tables[0]));
        lane.pass_turn();
        assert!(lane.start_failed(), "it begins");
        for _ in 0..3 {
            assert!(lane.reclaim_for_new());
            assert!(!lane.start_failed(), "it goes on");
        }
        assert!(lane.take_free_turn(&tables[0]), "it is over");
        lane.pass_turn();
        assert!(lane.start_failed(), "the next one");
    }

    #[test]
    fn room_that_came_while_the_keeper_looked_for_it_is_taken_when_the_bell_rings() {
        let (lane, tables) = lane_with(&[(100, 100), (100, 100)]);
        assert!(lane.take_waiting_turn(&tables[0]));
        assert_eq!(lane.pass_turn(), Next::New);
        // The keeper finds no room; then a connection of the first table closes, too early for it to take the turn.
        let found = lane.roomiest();
        tables[0].set_open(99);
        assert!(!lane.take_free_turn(&tables[0]));
        lane.give_turn_to(found);
        assert!(!lane.takes_turn_at_bell(&tables[1]), "it is full");
        assert!(lane.takes_turn_at_bell(&tables[0]) && lane.is_turn_of(&tables[0]));
        assert!(!lane.takes_turn_at_bell(&tables[1]));
    }
}
