//! What stands against a rule for a reason.

/// One place that a rule does not hold for.
pub(crate) struct Exception {
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// The place as the finding names it.
    pub(crate) place: &'static str,
    /// Why it stands.
    pub(crate) reason: &'static str,
}

const fn of(rule: &'static str, place: &'static str, reason: &'static str) -> Exception {
    Exception { rule, place, reason }
}

/// All of them.
pub(crate) const EXCEPTIONS: &[Exception] = &[
    of(
        "function-length",
        "crates/c10k-ceiling/tests/support/mod.rs: planted",
        "a table of cases: data, which is read from its top to its end",
    ),
    of(
        "function-length",
        "crates/c10k-record/tests/common/samples.rs: full",
        "a table of cases: data, which is read from its top to its end",
    ),
    of(
        "function-length",
        "crates/c10k-report/src/fixtures.rs: held",
        "a table of cases: data, which is read from its top to its end",
    ),
    of(
        "function-length",
        "crates/c10k-wire/src/conformance/close.rs: cases",
        "a table of cases: data, which is read from its top to its end",
    ),
    of(
        "function-length",
        "crates/c10k-wire/src/conformance/handshakes.rs: requests",
        "a table of cases: data, which is read from its top to its end",
    ),
    of(
        "function-length",
        "crates/c10k-wire/src/conformance/messages.rs: fragments",
        "a table of cases: data, which is read from its top to its end",
    ),
    of(
        "unused-pub",
        "crates/c10k-wire/src/conformance.rs: bytes_to",
        "the conformance table is compiled for the tests of other crates alone",
    ),
    of(
        "unused-pub",
        "crates/c10k-wire/src/conformance.rs: is_for",
        "the conformance table is compiled for the tests of other crates alone",
    ),
    of(
        "unused-pub",
        "crates/c10k-wire/src/conformance/handshakes.rs: requests",
        "the conformance table is compiled for the tests of other crates alone",
    ),
    of(
        "unit",
        "crates/c10k-collector/src/account/parts.rs: Grown.objects",
        "a count of objects, whose growth is spread over connections and so a fraction",
    ),
    of(
        "unit",
        "crates/c10k-record/src/record.rs: ConnectRate.mean",
        "the struct is a rate: connections a second",
    ),
    of(
        "unit",
        "crates/c10k-record/src/record.rs: ConnectRate.peak",
        "the struct is a rate: connections a second",
    ),
    of(
        "unit",
        "crates/c10k-record/src/baseline.rs: Compared.baseline",
        "in the unit of the verdict's metric",
    ),
    of("unit", "crates/c10k-record/src/baseline.rs: Compared.value", "in the unit of the verdict's metric"),
    of("unit", "crates/c10k-record/src/verdict.rs: Verdict.value", "in the unit of the verdict's metric"),
    of("unit", "crates/c10k-swarm/src/args.rs: LoadArgs.rate", "the flag's name; its value says /s"),
    of("unit", "crates/c10k-swarm/src/args/work.rs: WorkArgs.messages", "the flag's name; its value says /s"),
    of(
        "unit",
        "crates/c10k-swarm/src/args/work.rs: WorkArgs.message_rate",
        "the flag's name; its value says /s",
    ),
    of("unit", "crates/c10k-swarm/src/args/work.rs: WorkArgs.churn", "the flag's name; its value says /s"),
    of(
        "printing",
        "crates/c10k-server/src/keeper.rs",
        "it opens stdout for the printer's thread and writes nothing itself",
    ),
    of(
        "printing",
        "crates/c10k-swarm/src/undo.rs",
        "a signal's thread says what it takes away, when the printer may be stuck",
    ),
    of(
        "unused-pub",
        "crates/c10k-kernel/src/files.rs: with_faults",
        "tests have calls fail by it, one after another",
    ),
    of(
        "unit",
        "crates/c10k-collector/src/collector.rs: Collector.idle_last",
        "seconds, with the moment at which they were read",
    ),
    of(
        "unit",
        "crates/c10k-collector/src/observation.rs: CpuSeen.idle_cores_of_ours",
        "cores; of those that this process may use",
    ),
    of(
        "unit",
        "crates/c10k-record/src/record.rs: ConnectRate.without_pauses",
        "the struct is a rate: connections a second",
    ),
    of(
        "unused-pub",
        "crates/c10k-profile/src/hold/here.rs: with_journal_in",
        "tests of this room put their journal elsewhere by it, and stop between two writes",
    ),
    of(
        "unused-pub",
        "crates/c10k-profile/src/hold/here.rs: with_journal_in_one_of",
        "tests of this room put their journal elsewhere by it, and stop between two writes",
    ),
    of(
        "unused-pub",
        "crates/c10k-profile/src/hold/here.rs: with_progress",
        "tests of this room put their journal elsewhere by it, and stop between two writes",
    ),
];
