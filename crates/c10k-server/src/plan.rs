//! How many descriptors a table has, whether workers have their own, and what is refused before it is begun.

use std::time::Duration;

use c10k_kernel::descriptors;
use c10k_profile::own_tables_are_allowed;

use crate::args::{Scheduling, ServerArgs};
use crate::host::Prepared;
use crate::shared::WorkerSettings;
use crate::start::StartError;

/// Descriptors of a table when the limit is far away. A table costs 8 bytes of kernel memory a descriptor from
/// its start, so larger ones would be paid for before they are used, and more of them cost next to nothing.
const LARGE_TABLE: u64 = 1 << 17;
/// The same where all connections share one table.
const LARGE_ONE_TABLE: u64 = 1 << 20;
/// Descriptors of the process that are no connections, beside those counted when it starts.
const RESERVE: u64 = 16;

/// How large a table is and whether workers have their own; `None` = no limit on connections.
pub(crate) fn plan_tables(
    args: &ServerArgs,
    lanes: usize,
    prepared: &mut Prepared,
) -> Result<(WorkerSettings, Option<u64>), StartError> {
    let own_tables = !args.one_table && own_tables_are_allowed(prepared.nofile.soft, &mut prepared.warnings);
    let in_use = descriptors::open_count(std::process::id())
        .map_err(StartError::system("count this process's descriptors"))?;
    let of_lanes = lanes as u64 * (args.listen().addresses().len() as u64 + 2);
    let others = in_use + of_lanes + RESERVE + if own_tables { 1 } else { lanes as u64 };
    let asked = args.max_connections.map(|quantity| quantity.0);
    let needed = asked.unwrap_or(1).saturating_add(others);
    let soft = prepared.nofile.soft;
    let least = if own_tables { others + 1 } else { needed };
    if soft < least {
        let one_table_by_choice = args.one_table;
        return Err(StartError::Descriptors {
            needed: least,
            soft,
            hard: prepared.nofile.hard,
            one_table_by_choice,
        });
    }
    let large = if own_tables { LARGE_TABLE } else { LARGE_ONE_TABLE };
    let table_limit = match asked {
        Some(_) if own_tables => soft.min(needed).min(large),
        Some(_) => soft.min(needed),
        None => soft.min(large),
    };
    let max_connections = if own_tables { asked } else { Some(asked.unwrap_or(table_limit - others)) };
    let table_limit = u32::try_from(table_limit).unwrap_or(i32::MAX as u32);
    if !own_tables {
        descriptors::grow_table_to(table_limit - 1)
            .map_err(StartError::system("grow the descriptor table"))?;
    }
    let settings = WorkerSettings {
        mode: args.mode(),
        own_tables,
        waits_for_turn: args.scheduling == Scheduling::Batch,
        burn: args.burn_ns.map(Duration::from_nanos),
        table_limit,
        stall_timeout: Some(args.stall_timeout.0).filter(|timeout| !timeout.is_zero()),
        drain: args.drain.0,
    };
    Ok((settings, max_connections))
}
