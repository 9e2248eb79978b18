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
        "crates/c10k-record/tests/schema.rs: full",
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
        "function-length",
        "crates/c10k-lab/src/calibrate.rs: calibrate",
        "to be divided when the room is laid out in folders",
    ),
    of(
        "function-length",
        "crates/c10k-lab/src/lead.rs: start",
        "to be divided when the room is laid out in folders",
    ),
    of(
        "circle",
        "crates/c10k-ceiling/src/walls/memory.rs",
        "to be cut: what both walls ask belongs into facts of its own",
    ),
    of(
        "circle",
        "crates/c10k-kernel/src/namespace.rs",
        "to be cut: the scope of a sysctl is a file of its own",
    ),
    of(
        "circle",
        "crates/c10k-lab/src/calibrate.rs",
        "to be cut when the room is laid out in folders, in the order of the plan's way",
    ),
    of(
        "circle",
        "crates/c10k-lab/src/child.rs",
        "to be cut: what stands in a run's way is data, apart from who acts on it",
    ),
    of("circle", "crates/c10k-lab/src/climb/document.rs", "to be cut: what a step is belongs below both"),
    of("circle", "crates/c10k-profile/src/apply.rs", "to be cut when the room is laid out in folders"),
    of(
        "circle",
        "crates/c10k-record/src/counts.rs",
        "to be cut: the vocabulary belongs apart from reading and writing",
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
        "unused-pub",
        "crates/c10k-profile/src/profile.rs: from_text",
        "tests of this room put their journal elsewhere by it, and stop between two writes",
    ),
    of(
        "unused-pub",
        "crates/c10k-profile/src/here.rs: with_journal_in",
        "tests of this room put their journal elsewhere by it, and stop between two writes",
    ),
    of(
        "unused-pub",
        "crates/c10k-profile/src/here.rs: with_journal_in_one_of",
        "tests of this room put their journal elsewhere by it, and stop between two writes",
    ),
    of(
        "unused-pub",
        "crates/c10k-profile/src/here.rs: with_progress",
        "tests of this room put their journal elsewhere by it, and stop between two writes",
    ),
    of(
        "unused-pub",
        "crates/c10k-kernel/src/address.rs: local_addresses",
        "tests compare by it what the room has added",
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
    of("unit", "crates/c10k-record/src/verdict.rs: Verdict.value", "in the unit of the verdict's metric"),
    of("unit", "crates/c10k-report/src/plot.rs: Axes.end", "in the unit of what is plotted"),
    of("unit", "crates/c10k-report/src/plot.rs: Axes.top", "in the unit of what is plotted"),
    of("unit", "crates/c10k-swarm/src/args.rs: LoadArgs.rate", "the flag's name; its value says /s"),
    of(
        "unit",
        "crates/c10k-swarm/src/arrivals.rs: Arrivals.rate",
        "arrivals a second, as the flag is called",
    ),
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
        "file-length",
        "crates/c10k-ceiling/src/walls/descriptors.rs",
        "to be divided into the walls of a table and those of the host",
    ),
    of(
        "function-length",
        "crates/c10k-lab/src/doctor.rs: examine",
        "to be divided when the room is laid out in folders",
    ),
    of(
        "circle",
        "crates/c10k-ceiling/src/findings.rs",
        "to be cut: what loads are asked of findings belongs below both",
    ),
    of(
        "unused-pub",
        "crates/c10k-kernel/src/processes.rs: descendants",
        "whose connections these are is to be told by process; nobody asks it yet",
    ),
    of(
        "unused-pub",
        "crates/c10k-kernel/src/census/holder.rs: who_holds",
        "whose connections these are is to be told by process; nobody asks it yet",
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
];
