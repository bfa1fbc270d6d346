//! What the machine, or the container around the process, offers: memory and cores.

use std::{
    fs,
    path::{Path, PathBuf},
    thread::available_parallelism,
};

/// The figures that `--maxmemory auto` and `--threads` start from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Memory that this process may use, if it can be found out.
    pub memory_bytes: Option<u64>,
    /// Cores that this process may use.
    pub cores: usize,
}

impl Machine {
    /// The machine under this process.
    pub fn here() -> Machine {
        Machine { memory_bytes: memory_limit(Path::new("/")), cores: available_parallelism().map_or(1, usize::from) }
    }
}

/// The least of the machine's memory and the limits of the control groups around this process.
///
/// A container sees its own group as the root of what is mounted, a plain process sees its group's path below it;
/// both places are read, and every group above, since the tightest limit is the one that kills.
fn memory_limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| group_limits(root, line));
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| total_memory(&text));
    limits.chain(machine).min()
}

/// The limits that one line of `/proc/self/cgroup` (`hierarchy:controllers:path`) leads to.
fn group_limits(root: &Path, line: &str) -> Vec<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { return Vec::new() };
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|one| one == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    let path = PathBuf::from(path.trim_start_matches('/'));
    let folders = path.ancestors().map(|group| root.join(mount).join(group).join(file));
    folders.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).collect()
}

/// The machine's memory from the text of `/proc/meminfo`.
pub(crate) fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files by path and content.
    type Files<'a> = &'a [(&'a str, &'a str)];

    /// A root folder with these files.
    fn root(files: Files<'_>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        root
    }

    #[test]
    fn the_tightest_limit_counts() {
        let meminfo = ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");
        let version_2 = ("proc/self/cgroup", "0::/a/b\n");
        let version_1 = ("proc/self/cgroup", "5:cpu,memory:/docker/x\n4:pids:/\nnonsense\n");
        let cases: [(Files<'_>, Option<u64>); 9] = [
            (&[], None),
            (&[meminfo], Some(8 << 30)),
            (&[meminfo, version_2, ("sys/fs/cgroup/a/b/memory.max", "max\n")], Some(8 << 30)),
            (
                &[
                    meminfo,
                    version_2,
                    ("sys/fs/cgroup/a/b/memory.max", "4096\n"),
                    ("sys/fs/cgroup/a/memory.max", "512\n"),
                ],
                Some(512),
            ),
            (&[meminfo, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "77\n")], Some(77)),
            (&[meminfo, version_1, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "99\n")], Some(99)),
            // Without a limit version 1 says what is more than any machine has.
            (
                &[
                    meminfo,
                    version_1,
                    ("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                Some(8 << 30),
            ),
            // Both versions at a time: the processes' memory is limited by the first.
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "4:memory:/a\n0::/a\n"),
                    ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "123456\n"),
                    ("sys/fs/cgroup/a/memory.max", "max\n"),
                ],
                Some(123_456),
            ),
            // A container that hides the machine's memory.
            (&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "1073741824\n")], Some(1 << 30)),
        ];
        for (files, wanted) in cases {
            assert_eq!(memory_limit(root(files).path()), wanted, "{files:?}");
        }
    }
}
