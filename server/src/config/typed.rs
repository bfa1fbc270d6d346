//! The configuration as it was typed: text, and where it came from. Nothing is understood here.

use std::{collections::BTreeMap, ffi::OsString, fs::File, io::Read, path::Path};

use clap::ArgMatches;

use super::{
    error::{ConfigError, shown},
    settings::{SETTINGS, Scope, Setting, setting},
};

/// A configuration file larger than this is not one.
pub(super) const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// What the environment says of a variable. An argument, so that no test has to change the process's own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Every setting that was given, with flags before the environment before the file.
#[derive(Default)]
pub struct Typed {
    given: BTreeMap<&'static str, Given>,
    file: Option<String>,
}

struct Given {
    text: String,
    source: Source,
}

#[derive(Clone, PartialEq, Eq)]
enum Source {
    Flag,
    Environment,
    File(String),
}

impl Typed {
    /// Collects the settings of these scopes from the three places.
    pub(super) fn collect(
        matches: &ArgMatches,
        environment: Environment<'_>,
        scopes: &[Scope],
    ) -> Result<Typed, ConfigError> {
        let mut typed = Typed::default();
        for setting in SETTINGS.iter().filter(|setting| scopes.contains(&setting.scope)) {
            if let Some(text) = matches.get_one::<String>(setting.name) {
                typed.add(setting, text.clone(), Source::Flag);
            } else if let Some(text) = variable(&setting.variable(), environment)? {
                typed.add(setting, text, Source::Environment);
            }
        }
        let file = match matches.get_one::<String>("config") {
            Some(file) => Some(file.clone()),
            None => variable("CIRCLET_CONFIG", environment)?,
        };
        if let Some(file) = &file {
            typed.add_file(file, scopes)?;
        }
        typed.file = file;
        Ok(typed)
    }

    /// The file that was read.
    pub(super) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The text of a setting: given, or its default.
    pub(super) fn text(&self, name: &'static str) -> Option<&str> {
        let default = || setting(name).and_then(|setting| setting.default);
        self.given.get(name).map(|given| given.text.as_str()).or_else(default)
    }

    /// The text of the default of a setting that has one.
    pub(super) fn default_text(&self, name: &'static str) -> &'static str {
        setting(name).and_then(|setting| setting.default).expect("the table gives this setting a default")
    }

    /// Reads a setting that was given or has a default.
    pub(super) fn optional<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        read(text).map(Some).map_err(|why| self.refuse(name, why))
    }

    /// Reads a setting that has a default.
    pub(super) fn required<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        Ok(self.optional(name, read)?.expect("the table gives this setting a default"))
    }

    /// Whether the setting was given in any of the three places.
    pub(super) fn is_given(&self, name: &'static str) -> bool {
        self.given.contains_key(name)
    }

    /// How strong the source of a setting is: flags beat the environment, and that beats a file; 0 if it is not given.
    pub(super) fn strength_of(&self, name: &'static str) -> u8 {
        match self.given.get(name).map(|given| &given.source) {
            None => 0,
            Some(Source::File(_)) => 1,
            Some(Source::Environment) => 2,
            Some(Source::Flag) => 3,
        }
    }

    /// An error about a setting, in the words of the place it came from.
    pub(super) fn refuse(&self, name: &'static str, why: impl std::fmt::Display) -> ConfigError {
        let secret = setting(name).is_some_and(|setting| setting.secret);
        let text = if secret { "(not shown)".to_owned() } else { shown(self.text(name).unwrap_or_default()) };
        let what = match self.given.get(name).map(|given| &given.source) {
            Some(Source::File(file)) => format!("{name} = {text} in {}", shown(file)),
            Some(Source::Environment) => {
                format!("{}={text}", setting(name).map(Setting::variable).unwrap_or_default())
            }
            Some(Source::Flag) | None => format!("--{name} {text}"),
        };
        let given = self.given.get(name);
        let is_link = given.is_some_and(|given| given.source == Source::Environment && given.text.contains("://"));
        if is_link {
            let likely = "looks like a variable that Kubernetes makes for a service named circlet: set enableServiceLinks \
                          to false, or name the service otherwise";
            return ConfigError::new(what, format!("{why} ({likely})"));
        }
        ConfigError::new(what, why)
    }

    fn add(&mut self, setting: &'static Setting, text: String, source: Source) {
        self.given.entry(setting.name).or_insert(Given { text, source });
    }

    fn add_file(&mut self, file: &str, scopes: &[Scope]) -> Result<(), ConfigError> {
        let text = read_bounded(Path::new(file), FILE_LIMIT_BYTES)
            .map_err(|why| ConfigError::new(format!("--config {}", shown(file)), why))?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| syntax_error(file, &text, &error))?;
        for (key, value) in &table {
            let refuse = |why: String| ConfigError::new(format!("{} in {}", shown(key), shown(file)), why);
            let setting = setting(key).ok_or_else(|| refuse("there is no such setting".to_owned()))?;
            // `true` would be the password "yes", and 0x10 the password "16".
            if setting.secret && !value.is_str() {
                return Err(refuse("must be a text in quotes".to_owned()));
            }
            let text = as_typed(value).map_err(refuse)?;
            if scopes.contains(&setting.scope) {
                self.add(setting, text, Source::File(file.to_owned()));
            }
        }
        Ok(())
    }
}

/// Reads a whole text file that is not larger than the limit.
pub(super) fn read_bounded(file: &Path, limit_bytes: u64) -> Result<String, String> {
    let opened = File::open(file).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = String::new();
    opened.take(limit_bytes + 1).read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > limit_bytes {
        return Err(format!("is larger than {limit_bytes} bytes"));
    }
    Ok(text)
}

fn variable(name: &str, environment: Environment<'_>) -> Result<Option<String>, ConfigError> {
    let Some(text) = environment(name) else { return Ok(None) };
    text.into_string().map(Some).map_err(|_| ConfigError::new(name, "is not UTF-8 text"))
}

/// A TOML value as one would type it behind a flag.
fn as_typed(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(yes) => Ok(if *yes { "yes" } else { "no" }.to_owned()),
        toml::Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            Ok(items.ok_or("must be a list of strings")?.join(","))
        }
        other => Err(format!("cannot be a {}", other.type_str())),
    }
}

fn syntax_error(file: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    ConfigError::new(format!("{} line {line}", shown(file)), error.message().replace('\n', ", "))
}
