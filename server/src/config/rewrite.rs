//! Writes settings into the configuration file, and leaves everything else of it as it is, comments included.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use toml_edit::{DocumentMut, Item, Value};

use super::{
    settings::{Setting, setting},
    typed::{FILE_LIMIT_BYTES, read_bounded},
};

/// Gives settings these values in the file, or takes them out where there is none. The file is the old or the new one,
/// whatever happens; the error says why it is the old one.
pub fn rewrite(file: &Path, settings: &[(&str, Option<String>)]) -> Result<(), String> {
    let _one = ONE_AT_A_TIME.lock();
    let fail = |why: String| format!("{} {why}", file.display());
    // A link stays one: what it leads to is written.
    let file = fs::canonicalize(file).map_err(|error| fail(format!("cannot be read: {error}")))?;
    let text = read_bounded(&file, FILE_LIMIT_BYTES).map_err(fail)?;
    let mut document: DocumentMut =
        text.parse().map_err(|_| fail("is no TOML any more: it is left as it is".to_owned()))?;
    for (name, value) in settings {
        set(&mut document, name, value.as_deref());
    }
    let draft = draft_of(&file);
    write(&draft, &file, document.to_string().as_bytes()).map_err(|error| {
        // It may not even be there.
        let _ = fs::remove_file(&draft);
        fail(format!("cannot be written: {error}; it is left as it is"))
    })
}

fn set(document: &mut DocumentMut, name: &str, value: Option<&str>) {
    let Some(text) = value else {
        document.remove(name);
        return;
    };
    let mut value = typed(name, text);
    match document.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            // What stands around it is a space before it and a comment behind it.
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => drop(document.insert(name, Item::Value(value))),
    }
}

/// A number only where it is read as the same text again: `007` may be a password.
fn typed(name: &str, text: &str) -> Value {
    let integer = text.parse::<i64>().ok().filter(|integer| integer.to_string() == text);
    match integer.filter(|_| !setting(name).is_some_and(Setting::is_text)) {
        Some(integer) => Value::from(integer),
        None => Value::from(text),
    }
}

fn draft_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Two at a time would write to one draft.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The draft has the permissions of the file before anything is in it: there may be a password.
fn write(draft: &Path, file: &Path, text: &[u8]) -> io::Result<()> {
    let mut new = File::create(draft)?;
    new.set_permissions(fs::metadata(file)?.permissions())?;
    new.write_all(text)?;
    new.sync_all()?;
    fs::rename(draft, file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn settings<'a>(pairs: &[(&'a str, Option<&str>)]) -> Vec<(&'a str, Option<String>)> {
        pairs.iter().map(|(name, value)| (*name, value.map(str::to_owned))).collect()
    }

    #[test]
    fn what_is_there_stays_with_its_comments() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("circlet.toml");
        fs::write(&file, "# Ours.\nmaxmemory = \"1gb\"  # enough\n\nzone = \"a\"\nrequirepass = \"x\"\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let link = home.path().join("link.toml");
        symlink(&file, &link).unwrap();
        let changes = [("maxmemory", Some("5")), ("requirepass", None), ("log-level", Some("debug"))];
        rewrite(&link, &settings(&changes)).unwrap();
        let wanted = "# Ours.\nmaxmemory = 5  # enough\n\nzone = \"a\"\nlog-level = \"debug\"\n";
        assert_eq!(fs::read_to_string(&file).unwrap(), wanted);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "no draft is left");
    }

    #[test]
    fn of_several_at_a_time_each_is_whole() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("circlet.toml");
        fs::write(&file, "").unwrap();
        let write = |number: usize| {
            let zone = number.to_string().repeat(2000 * number);
            for _ in 0..20 {
                rewrite(&file, &settings(&[("zone", Some(&zone))])).unwrap();
                let text = fs::read_to_string(&file).unwrap();
                assert!(text.starts_with("zone = ") && text.ends_with("\"\n"), "{} bytes", text.len());
            }
        };
        std::thread::scope(|scope| (1..5).for_each(|number| drop(scope.spawn(move || write(number)))));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_text_that_looks_like_a_number_stays_one() {
        let check = |name: &str, text: &str, wanted: &str| {
            let mut document = DocumentMut::new();
            set(&mut document, name, Some(text));
            assert_eq!(document.to_string(), format!("{name} = {wanted}\n"));
        };
        for password in ["007", "+5", "-0", "5"] {
            check("requirepass", password, &format!("\"{password}\""));
        }
        check("zone", "5", "\"5\"");
        check("weight", "5", "5");
        check("maxmemory", "+5", "\"+5\"");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_left_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("circlet.toml");
        let refused = |wanted: &str| {
            let why = rewrite(&file, &settings(&[("weight", Some("2"))])).unwrap_err();
            assert!(why.contains(wanted), "{why}");
        };
        refused("cannot be read");
        fs::write(&file, "weight = [").unwrap();
        refused("is no TOML any more");
        fs::write(&file, "weight = 1\n").unwrap();
        // Where the draft would be is a folder, as good an obstacle as a full disk.
        fs::create_dir(draft_of(&file)).unwrap();
        refused("cannot be written");
        assert_eq!(fs::read_to_string(&file).unwrap(), "weight = 1\n");
    }
}
