//! Churn: a connection is closed, and another one begun in its place.
//!
//! Which end keeps TIME_WAIT is decided by whose FIN is the first. A raw echo has no word that makes its server send
//! one: a client that only shuts its own direction has sent the first. A WebSocket server ends TCP first, as RFC 6455
//! section 7.1.1 has it, once both have sent a Close frame; a client whose FIN stands right behind its own Close frame is
//! the first again.

use c10k_record::ChurnClose;

use super::Worker;
use crate::maker::Maker;
use crate::speech::Speech;
use crate::tasks::{Orders, Task};
use crate::workload::{Churned, Due, Workload};

/// Connections that are exchanged between two looks at what has become ready.
const BATCH: u32 = 32;
/// Before the next look for a tuple that has come back, µs.
const NEXT_LOOK_US: u64 = 20_000;

/// What one worker has of an exchange.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// Numbers of connections that wait for a tuple.
    pub(super) waiting: Vec<u64>,
    /// Since it was told last.
    closed: u64,
    waits_for_a_port: u64,
    /// As the ledger counted when it was told last.
    attempted: u64,
    verified: u64,
    under_way: u64,
}

impl<M: Maker, S: Speech> Worker<M, S> {
    /// Where the counts stand when an exchange begins.
    pub(super) fn begin_exchange(&self) -> Exchange {
        let (attempted, verified) = self.ledger.made();
        let under_way = self.ledger.under_way(Task::Connect);
        Exchange { attempted, verified, under_way, ..Exchange::default() }
    }

    /// Exchanges some; true when there is more to do at once.
    pub(super) fn exchange_some(&mut self, orders: Orders) -> bool {
        if !self.begin_waiting(orders) {
            return false;
        }
        for _ in 0..BATCH {
            // Who is on its way, in or out, has its place among those that may be.
            let most = u64::from(self.shared.settings.in_flight_per_turn);
            if self.ledger.under_way(Task::Connect) >= most
                || self.ledger.under_way(Task::Close) + self.ledger.parting() >= 2 * most
            {
                return false;
            }
            let now_us = self.shared.now_us();
            let Some(working) = &mut self.working else { return false };
            let Workload::Churn(churn) = &mut working.workload else { return false };
            let close = churn.close;
            match churn.next(now_us, &self.table) {
                Due::Say { slot, .. } => {
                    working.exchange.closed += 1;
                    self.close_one(orders, slot, close);
                    let number = self.shared.arrivals.one_more();
                    if !self.begin_one_more(orders, number)
                        && let Some(working) = &mut self.working
                    {
                        working.exchange.waits_for_a_port += 1;
                    }
                }
                Due::NotBefore(at_us) => {
                    self.wait_until(at_us);
                    return false;
                }
                Due::Nobody => return false,
            }
        }
        true
    }

    /// Begins those that wait for a tuple; false when some still do.
    pub(super) fn begin_waiting(&mut self, orders: Orders) -> bool {
        while let Some(number) = self.working.as_mut().and_then(|working| working.exchange.waiting.pop()) {
            if !self.begin_one_more(orders, number) {
                self.wait_until(self.shared.now_us() + NEXT_LOOK_US);
                return false;
            }
        }
        true
    }

    /// Begins one more; false when there is no tuple for it, and it waits.
    fn begin_one_more(&mut self, orders: Orders, number: u64) -> bool {
        let begun = self.begin_apart(orders, number);
        if !begun && let Some(working) = &mut self.working {
            working.exchange.waiting.push(number);
        }
        begun
    }

    /// Nobody begins any more what still waits for a tuple.
    pub(super) fn forget_waiting_connects(&mut self) {
        let Some(working) = &mut self.working else { return };
        let forgotten = std::mem::take(&mut working.exchange.waiting).len() as u64;
        if forgotten > 0 {
            self.shared.arrivals.forget(forgotten);
        }
    }

    fn close_one(&mut self, orders: Orders, index: u32, close: ChurnClose) {
        let was = self.table.peek(index).standing();
        self.ledger.releases(was);
        self.end_as(orders, index, close);
    }

    /// What has come and gone since this was asked last.
    pub(super) fn exchanged(&mut self) -> Option<Churned> {
        let (attempted, verified) = self.ledger.made();
        let under_way = self.ledger.under_way(Task::Connect);
        let working = self.working.as_mut()?;
        if !working.job.is_churn() {
            return None;
        }
        let exchange = &mut working.exchange;
        let reopened = verified - exchange.verified;
        let begun = attempted + exchange.under_way - exchange.attempted;
        let churned = Churned {
            closed: exchange.closed,
            reopened,
            failed: begun.saturating_sub(under_way + reopened),
            waits_for_a_port: exchange.waits_for_a_port,
        };
        let waiting = std::mem::take(&mut exchange.waiting);
        *exchange = Exchange { waiting, attempted, verified, under_way, ..Exchange::default() };
        Some(churned)
    }
}
