//! What a group of processes has used, read from `/proc`.
//!
//! CPU time is the scheduler's own count in nanoseconds (`schedstat`), summed over every thread of
//! every process in the group, with the time the kernel worked on their behalf. A thread that ends
//! during a run takes its count with it; then, and on kernels without `schedstat`, the coarser
//! count of the whole process (`stat`, in hundredths of a second, ended threads included) is used.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The unit of times in `/proc/PID/stat`: hundredths of a second on every architecture that
/// Gatepost is built for.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of a process group up to one moment.
pub(crate) struct Usage {
    threads: BTreeMap<u32, Duration>,
    processes: Duration,
}

impl Usage {
    /// Reads what the group has used until now.
    pub(crate) fn of(group: u32) -> Self {
        let mut threads = BTreeMap::new();
        let mut processes = Duration::ZERO;
        for process in members(group) {
            processes += process.cpu;
            for thread in numbered(&format!("/proc/{}/task", process.id)) {
                let path = format!("/proc/{}/task/{thread}/schedstat", process.id);
                let used = fs::read_to_string(path).ok().and_then(|text| on_cpu(&text));
                threads.extend(used.map(|used| (thread, used)));
            }
        }
        Self { threads, processes }
    }

    /// CPU time between two readings.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let complete =
            !before.threads.is_empty() && before.threads.keys().all(|thread| self.threads.contains_key(thread));
        if !complete {
            return self.processes.saturating_sub(before.processes);
        }
        let earlier = |thread| before.threads.get(thread).copied().unwrap_or_default();
        self.threads.iter().map(|(thread, used)| used.saturating_sub(earlier(thread))).sum()
    }
}

/// Memory of the group that is resident now, in bytes.
pub(crate) fn resident(group: u32) -> u64 {
    let of = |process: &Process| {
        let status = fs::read_to_string(format!("/proc/{}/status", process.id)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    members(group).iter().filter_map(of).sum::<u64>() * 1024
}

struct Process {
    id: u32,
    cpu: Duration,
}

fn members(group: u32) -> Vec<Process> {
    let read = |id: u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (of, cpu) = group_and_cpu(&stat)?;
        (of == group).then_some(Process { id, cpu })
    };
    numbered("/proc").into_iter().filter_map(read).collect()
}

fn numbered(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The process group and the user and system time of a `/proc/PID/stat` line.
fn group_and_cpu(stat: &str) -> Option<(u32, Duration)> {
    // The program's name, in parentheses, may itself hold spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u32>().ok();
    Some((number(2)?, TICK * (number(11)? + number(12)?)))
}

/// The first number of a `schedstat` line: nanoseconds spent on a CPU.
fn on_cpu(schedstat: &str) -> Option<Duration> {
    Some(Duration::from_nanos(schedstat.split(' ').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_an_odd_name_is_read() {
        let line = "77 (a ) b) S 1 70 70 0 -1 4194560 1 0 0 0 25 17 0 0 20 0 1 0 5 6 7";
        assert_eq!(group_and_cpu(line), Some((70, Duration::from_millis(420))));
    }

    #[test]
    fn a_thread_that_ended_makes_the_processes_count() {
        let reading = |threads: &[(u32, u64)], processes| Usage {
            threads: threads.iter().map(|(id, ns)| (*id, Duration::from_nanos(*ns))).collect(),
            processes: Duration::from_nanos(processes),
        };
        let before = reading(&[(1, 100), (2, 50)], 1000);
        let all_there = reading(&[(1, 400), (2, 50), (3, 7)], 9000);
        assert_eq!(all_there.since(&before), Duration::from_nanos(307));
        let one_gone = reading(&[(1, 400)], 9000);
        assert_eq!(one_gone.since(&before), Duration::from_nanos(8000));
    }
}
