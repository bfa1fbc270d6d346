//! The node's identity, kept over restarts where there is a folder to keep it in.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::Path,
};

use ring::id::NodeId;

use super::{error::ConfigError, typed::read_bounded};

/// The file that holds the identity: 40 hexadecimal digits and a line end.
const FILE: &str = "node-id";

/// Who this node is. While it lives, no other process on the machine can take the same folder.
#[derive(Debug)]
pub struct Identity {
    /// The identity.
    pub node_id: NodeId,
    _lock: Option<File>,
}

impl Identity {
    /// An identity that is kept nowhere.
    pub fn drawn(node_id: NodeId) -> Identity {
        Identity { node_id, _lock: None }
    }

    /// Settles the identity: the one given, else the one kept in the folder, else the one drawn. Where there is a
    /// folder, it is kept there, and it never changes: a node under a second identity would be a second node.
    pub fn settle(given: Option<NodeId>, folder: Option<&Path>, drawn: NodeId) -> Result<Identity, ConfigError> {
        let Some(folder) = folder else { return Ok(Identity::drawn(given.unwrap_or(drawn))) };
        let refuse = |why: String| ConfigError::new(format!("--data-dir {}", folder.display()), why);
        let lock = lock(folder).map_err(refuse)?;
        let node_id = match (kept(folder).map_err(refuse)?, given) {
            (Some(kept), Some(given)) if kept != given => {
                return Err(refuse(format!("belongs to node {kept}, not to --node-id {given}")));
            }
            (Some(kept), _) => kept,
            (None, _) => {
                let node_id = given.unwrap_or(drawn);
                keep(folder, node_id).map_err(|error| refuse(format!("cannot be written: {error}")))?;
                node_id
            }
        };
        Ok(Identity { node_id, _lock: Some(lock) })
    }
}

/// Takes the folder for this process. The operating system gives it back when the process ends, however it ends.
fn lock(folder: &Path) -> Result<File, String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot be made: {error}"))?;
    let file = File::create(folder.join("lock")).map_err(|error| format!("cannot be written: {error}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err("is in use by another node".to_owned()),
        Err(TryLockError::Error(error)) => Err(format!("cannot be locked: {error}")),
    }
}

/// The identity that the folder holds, if any.
fn kept(folder: &Path) -> Result<Option<NodeId>, String> {
    let file = folder.join(FILE);
    if !file.try_exists().map_err(|error| format!("cannot be read: {error}"))? {
        return Ok(None);
    }
    let text = read_bounded(&file, 64).map_err(|why| format!("{FILE} in it {why}"))?;
    let node_id = NodeId::parse(text.trim_end());
    node_id.map(Some).ok_or_else(|| format!("{FILE} in it does not hold 40 hexadecimal digits"))
}

/// Writes the identity so that a crash leaves either no file or a whole one.
fn keep(folder: &Path, node_id: NodeId) -> io::Result<()> {
    let draft = folder.join("node-id.new");
    let written = write(&draft, node_id).and_then(|()| fs::rename(&draft, folder.join(FILE)));
    if written.is_err() {
        // A disk that was full has nothing of it then.
        let _ = fs::remove_file(&draft);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write(draft: &Path, node_id: NodeId) -> io::Result<()> {
    let mut file = File::create(draft)?;
    writeln!(file, "{node_id}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(given: Option<u64>, folder: Option<&Path>, drawn: u64) -> Result<NodeId, String> {
        let settled = Identity::settle(given.map(NodeId::from_seed), folder, NodeId::from_seed(drawn));
        settled.map(|identity| identity.node_id).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_folder_the_given_one_counts_then_the_drawn_one() {
        assert_eq!(settle(None, None, 1), Ok(NodeId::from_seed(1)));
        assert_eq!(settle(Some(2), None, 1), Ok(NodeId::from_seed(2)));
    }

    #[test]
    fn a_folder_keeps_the_first_identity() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("made/on/demand");
        assert_eq!(settle(None, Some(&folder), 1), Ok(NodeId::from_seed(1)));
        assert_eq!(settle(None, Some(&folder), 2), Ok(NodeId::from_seed(1)));
        assert_eq!(settle(Some(1), Some(&folder), 3), Ok(NodeId::from_seed(1)));
        let refused = settle(Some(9), Some(&folder), 3).unwrap_err();
        assert!(refused.contains("belongs to node"), "{refused}");
    }

    #[test]
    fn two_nodes_cannot_share_a_folder() {
        let home = tempfile::tempdir().unwrap();
        let first = Identity::settle(None, Some(home.path()), NodeId::from_seed(1)).unwrap();
        assert!(settle(None, Some(home.path()), 2).unwrap_err().ends_with("is in use by another node"));
        drop(first);
        assert_eq!(settle(None, Some(home.path()), 2), Ok(NodeId::from_seed(1)));
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_said() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(settle(None, Some(&file), 1).unwrap_err().contains("cannot be made"));
        for (text, why) in [("", "40 hexadecimal digits"), ("x\n", "40 hexadecimal digits"), (&"a".repeat(99), "64")] {
            fs::write(home.path().join(FILE), text).unwrap();
            let refused = settle(None, Some(home.path()), 1).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
