//! What the operating system and the allocator say about this process.

use std::{fs, io, time::Duration};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};

use crate::config::total_memory;

/// Open files beside the connections of clients: listeners, peers, lanes, logs, and room.
pub const FILES_BESIDE_CLIENTS: u64 = 256;

/// Processor time of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cpu {
    /// In the kernel.
    pub system: Duration,
    /// In the program.
    pub user: Duration,
}

/// What the allocator says, in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Allocator {
    /// Given to the program.
    pub allocated: u64,
    /// In pages that hold something.
    pub active: u64,
    /// In memory.
    pub resident: u64,
    /// The version of jemalloc.
    pub version: String,
}

/// Whether the allocator could give so many bytes now.
pub fn can_allocate(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

/// Processor time until now.
pub fn cpu() -> Cpu {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Cpu::default() };
    let time = |seconds: i64, micros: i64| Duration::new(seconds as u64, micros as u32 * 1000);
    let (system, user) = (usage.system_time(), usage.user_time());
    Cpu { system: time(system.tv_sec(), system.tv_usec()), user: time(user.tv_sec(), user.tv_usec()) }
}

/// Memory of this process that is resident, in bytes; 0 where it cannot be found out.
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().strip_suffix(" kB").and_then(|kib| kib.trim().parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// Memory of the machine in bytes; 0 where it cannot be found out.
pub fn machine_bytes() -> u64 {
    fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text)).unwrap_or(0)
}

/// Name and release of the operating system, as INFO says it.
pub fn operating_system() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {} {}", release.trim(), std::env::consts::ARCH)
}

/// What jemalloc says, where the program has it as its allocator (the binary does; a test may not).
pub fn allocator() -> Option<Allocator> {
    use tikv_jemalloc_ctl::{epoch, stats, thread};
    // The figures of an allocator that nobody uses are not this process's: see whether it notices an allocation.
    let before = thread::allocatedp::read().ok()?.get();
    drop(std::hint::black_box(Box::new([0u8; 64])));
    if thread::allocatedp::read().ok()?.get() == before {
        return None;
    }
    epoch::advance().ok()?;
    Some(Allocator {
        allocated: stats::allocated::read().ok()? as u64,
        active: stats::active::read().ok()? as u64,
        resident: stats::resident::read().ok()? as u64,
        version: version(),
    })
}

/// What the allocator says, for people; empty where it is not the allocator.
pub fn allocator_report() -> String {
    use tikv_jemalloc_ctl::{arenas, stats};
    let Some(Allocator { allocated, active, resident, version }) = allocator() else { return String::new() };
    // What cannot be read is left out.
    let further = [
        ("metadata", stats::metadata::read()),
        ("mapped", stats::mapped::read()),
        ("retained", stats::retained::read()),
    ];
    let further = further.into_iter().filter_map(|(name, bytes)| Some((name, bytes.ok()? as u64)));
    let lines = [("allocated", allocated), ("active", active), ("resident", resident)].into_iter().chain(further);
    let lines: String = lines.map(|(name, bytes)| format!("{name}: {bytes} bytes\n")).collect();
    let arenas = arenas::narenas::read().map(|count| format!("arenas: {count}\n")).unwrap_or_default();
    format!("jemalloc {version}\n{lines}{arenas}")
}

/// Lets the allocator give free pages back by a thread of its own, some seconds after they became free. Otherwise it does
/// so only while memory is asked for: a node that became idle would keep what its clients took. Whether it does.
pub fn give_back_when_idle() -> bool {
    tikv_jemalloc_ctl::background_thread::write(true).is_ok()
}

/// Asks the allocator to give its free pages back: an arena for which they may stay dirty for no time at all gives them
/// back at once. Whether that could be done.
pub fn purge() -> bool {
    use tikv_jemalloc_ctl::{Access, AsName, arenas};
    let Ok(arenas) = arenas::narenas::read() else { return false };
    for arena in 0..arenas {
        let name = format!("arena.{arena}.dirty_decay_ms\0");
        let name = name.as_bytes().name();
        // An arena that nobody has used yet is not there.
        let Ok(usual): Result<isize, _> = name.read() else { continue };
        let purged: Result<(), _> = name.write(0isize).and_then(|()| name.write(usual));
        if purged.is_err() {
            return false;
        }
    }
    true
}

/// The version of jemalloc, without the mark of its commit.
fn version() -> String {
    let version = tikv_jemalloc_ctl::version::read().unwrap_or_default();
    version.split('-').next().unwrap_or_default().to_owned()
}

/// The file of this program; empty where it cannot be found out.
pub fn executable() -> String {
    std::env::current_exe().map(|file| file.display().to_string()).unwrap_or_default()
}

/// Raises the limit on open files to what is needed, as far as the hard limit allows, and says what it is now.
pub fn raise_open_files(needed: u64) -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = needed.min(hard);
    if soft >= wanted {
        return Ok(soft);
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_a_living_process() {
        assert!(resident_bytes() > 1 << 20);
        assert!(machine_bytes() > resident_bytes());
        let mut sum = 0u64;
        while cpu().user + cpu().system == Duration::ZERO {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(operating_system().starts_with("Linux "));
        assert_ne!(operating_system(), format!("Linux  {}", std::env::consts::ARCH));
    }

    #[test]
    fn an_allocator_that_is_not_used_says_nothing() {
        assert_eq!(allocator(), None, "this program has the system's allocator");
        assert_eq!(allocator_report(), "");
    }

    #[test]
    fn the_limit_on_files_is_raised_but_never_lowered() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(raise_open_files(1).unwrap(), soft);
        assert_eq!(raise_open_files(u64::MAX).unwrap(), hard.max(soft));
    }
}
