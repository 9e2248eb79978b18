//! Talking: messages out, and what comes back.

use c10k_wire::ws::Kind as Frame;
use c10k_wire::{Contents, MessageId};

use super::Worker;
use super::output::Words;
use crate::maker::Maker;
use crate::speech::Speech;
use crate::table::{State, token};
use crate::tally::Loss;
use crate::tasks::{Orders, Task};
use crate::workload::{Answer, Backlog, IN_TIME_US, Kind, Message};

impl<M: Maker, S: Speech> Worker<M, S> {
    /// Sends a message on a connection that is silent. It should have been sent at `intended_us`; `None` = now.
    pub(super) fn talk(&mut self, orders: Orders, index: u32, kind: Kind, intended_us: Option<u64>) {
        let times = intended_us.map(|intended_us| (intended_us, intended_us));
        self.talk_with(orders, index, kind, times, Backlog::default());
    }

    /// The same where others are due behind it, with when it should have been sent, and when it could have been if the
    /// swarm had not been late: not before the answer to the one before it.
    fn talk_with(
        &mut self,
        orders: Orders,
        index: u32,
        kind: Kind,
        times: Option<(u64, u64)>,
        waiting: Backlog,
    ) {
        let Some(working) = &mut self.working else { return };
        let size = match kind {
            Kind::Work => working.workload.size(),
            Kind::Beat => self.shared.settings.probes.map_or(0, |probes| u32::from(probes.size())),
        };
        let id = self.talks.next_id(self.table.peek(index).identity());
        self.compose_message(id, size);
        let now_us = self.shared.now_us();
        let (intended_us, could_us) = times.unwrap_or((now_us, now_us));
        let slot = self.table.peek(index);
        let message = Message {
            proven_in: (slot.state == State::Proven).then_some(slot.round),
            id,
            kind,
            size,
            intended_us: intended_us.min(now_us),
            sent_us: now_us,
            late_us: now_us.saturating_sub(could_us),
        };
        self.note_sent(&message);
        self.begin_step(index, State::Talking, 0, now_us);
        self.ledger.asked(Task::Work);
        let number = self.talks.begin(message, waiting);
        self.table.get(index).set_talk(number);
        self.say(orders, index, Words::Own);
    }

    fn compose_message(&mut self, id: MessageId, size: u32) {
        let seed = self.shared.settings.seed;
        let contents = self.contents.get_or_insert_with(|| Box::new(Contents::new(seed)));
        let fill = |bytes: &mut [u8]| contents.fill(id, bytes);
        self.speech.message(Frame::Binary, size as usize, fill, self.output.blank());
    }

    fn note_sent(&mut self, message: &Message) {
        let Some(working) = &mut self.working else { return };
        if !working.is_counted(message.kind) {
            return;
        }
        let has_times = working.has_times();
        let talked = &mut working.talked;
        talked.sent += 1;
        talked.not_sent_in_time += u64::from(message.sent_us - message.intended_us > IN_TIME_US);
        if has_times {
            talked.lateness.record_us(message.late_us);
        }
    }

    /// Bytes have arrived on a connection that talks.
    pub(super) fn talk_heard(&mut self, orders: Orders, index: u32, length: usize, is_out: bool) {
        let slot = self.table.get(index);
        let (number, token) = (slot.talk(), token(index, slot.number));
        let (Some(contents), talks) = (&self.contents, &mut self.talks) else { return };
        let (state, input) = (&mut self.states[index as usize], &mut self.buffer[..length]);
        let kept = self.speech.kept_bytes(state);
        let lost = self.speech.listen(state, input, self.output.blank(), |piece| {
            talks.hear(number, &piece, contents, is_out);
        });
        self.freed.add(kept.saturating_sub(self.speech.kept_bytes(state)));
        let answer = self.talks.answer(number);
        if !self.output.next().is_empty() {
            self.say(orders, index, Words::Answer);
        }
        if self.table.find(token).is_none() {
            return;
        }
        match answer {
            Answer::Partial => {}
            Answer::Whole => self.talk_answered(orders, index, lost.is_some()),
            Answer::Wrong => {
                if let Some(working) = &mut self.working {
                    working.talked.wrong += 1;
                }
                return self.lose(orders, index, Loss::Corrupt);
            }
        }
        if let Some(loss) = lost
            && self.table.find(token).is_some()
        {
            self.hear_words(index, &loss, length);
            self.lose(orders, index, loss);
        }
    }

    /// The whole answer is there. One that `is_over` with the same input is sent nothing more.
    fn talk_answered(&mut self, orders: Orders, index: u32, is_over: bool) {
        let now_us = self.shared.now_us();
        let number = self.table.peek(index).talk();
        let (message, mut waiting) = self.talks.end(number);
        self.ledger.talked();
        self.note_answered(&message, now_us);
        self.rest(orders, index);
        // One that has said more since its last proof is proven all the more.
        if message.proven_in == Some(self.shared.round()) {
            self.prove(index);
        }
        let Some(working) = &mut self.working else { return };
        if is_over {
            return waiting.take(|unsent| working.talked.give_up(unsent, now_us));
        }
        let next = waiting.next();
        if let Some(unsent) = waiting.given_up() {
            working.talked.give_up(unsent, now_us);
        }
        if let Some(intended_us) = next {
            // If the swarm had been on time before, the answer would have come as much earlier.
            let could_us = intended_us.max(now_us - message.late_us.min(now_us));
            self.talk_with(orders, index, Kind::Work, Some((intended_us, could_us)), waiting);
        } else if message.kind == Kind::Work
            && orders.has(Task::Work)
            && let Some(next) = working.workload.answered(index, now_us, self.talks.of_work(), &self.table)
        {
            self.talk(orders, next, Kind::Work, None);
        }
    }

    fn note_answered(&mut self, message: &Message, now_us: u64) {
        let Some(working) = &mut self.working else { return };
        let response_us = now_us.saturating_sub(message.intended_us);
        let is_counted = working.is_counted(message.kind);
        let talked = &mut working.talked;
        if !is_counted {
            return talked.beats.get_or_insert_default().record_us(response_us);
        }
        talked.answered += 1;
        talked.response.record_us(response_us);
        talked.service.record_us(now_us.saturating_sub(message.sent_us));
    }

    /// A connection is gone while it talked: what was due behind that is not sent.
    pub(super) fn end_talk(&mut self, number: u32) {
        let (_, mut waiting) = self.talks.end(number);
        let now_us = self.shared.now_us();
        if let Some(working) = &mut self.working {
            waiting.take(|unsent| working.talked.give_up(unsent, now_us));
        }
    }
}
