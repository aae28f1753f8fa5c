//! `kith mcp install CLIENT`: adds Kith to the configuration of an MCP client. It shows the file and what it will hold, asks, and
//! changes nothing else in the file.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::config::{Bridge, Install, McpClient};

/// The name of the server in the configurations.
const NAME: &str = "kith";

/// What will be written.
struct ConfigChange {
    path: PathBuf,
    /// The part that is added, to show it.
    added: String,
    /// The whole file.
    whole: String,
    /// Whether the file will hold the API key.
    holds_key: bool,
    /// What the person has to do besides.
    then: &'static str,
}

/// Runs the command.
pub fn run(bridge: &Bridge, install: &Install) -> Result<(), String> {
    let url = bridge.address()?;
    let home = std::env::var_os("HOME").map(PathBuf::from).ok_or("HOME is not set.")?;
    let change = change(install.client, &home, url.as_str(), bridge.key_text().as_deref())?;
    let shown = bridge.key_text().map_or(change.added.clone(), |key| change.added.replace(&key, &hidden(&key)));
    println!("{}:\n\n{shown}\n", change.path.display());
    if change.holds_key {
        println!("The file holds the key, so it will be readable by you alone.\n");
    }
    if !install.yes && !agreed()? {
        println!("Nothing was written.");
        return Ok(());
    }
    write(&change)?;
    println!("Written. {}", change.then);
    Ok(())
}

/// A key as it is shown: its beginning and its end.
fn hidden(key: &str) -> String {
    let end = key.len().saturating_sub(4);
    let start = key.rfind('_').map_or(0, |at| at + 1);
    format!("{}…{}", &key[..start], key.get(end..).unwrap_or_default())
}

fn agreed() -> Result<bool, String> {
    if !io::stdin().is_terminal() {
        return Err("Standard input is no terminal. To write without asking, add --yes.".into());
    }
    print!("Write this? [y/N] ");
    io::stdout().flush().map_err(|error| error.to_string())?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn change(client: McpClient, home: &Path, url: &str, key: Option<&str>) -> Result<ConfigChange, String> {
    match client {
        McpClient::Claude => {
            let key = key.ok_or("KITH_KEY is not set. Claude Code keeps the API key in its configuration.")?;
            let server = json!({"type": "http", "url": url, "headers": {"Authorization": format!("Bearer {key}")}});
            let then = "Start Claude Code again; /mcp lists the server.";
            let change = in_json(home.join(".claude.json"), "mcpServers", server, then)?;
            Ok(ConfigChange { holds_key: true, ..change })
        }
        McpClient::Cursor => {
            let server = json!({"url": url, "headers": {"Authorization": "Bearer ${env:KITH_KEY}"}});
            let then = "Start Cursor with the API key in the environment variable KITH_KEY.";
            in_json(home.join(".cursor/mcp.json"), "mcpServers", server, then)
        }
        McpClient::Vscode => {
            let below = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".config" };
            let server = json!({"type": "http", "url": url, "headers": {"Authorization": "Bearer ${input:kith}"}});
            let then = "VS Code asks for the API key when it starts the server, and keeps it.";
            let mut change = in_json(home.join(below).join("Code/User/mcp.json"), "servers", server, then)?;
            let mut whole: Value = serde_json::from_str(&change.whole).map_err(|error| error.to_string())?;
            let inputs = whole.as_object_mut().map(|it| it.entry("inputs").or_insert_with(|| json!([])));
            let input = json!({"type": "promptString", "id": NAME, "description": "Kith API key", "password": true});
            match inputs {
                Some(Value::Array(inputs)) => {
                    if !inputs.iter().any(|input| input["id"] == NAME) {
                        inputs.push(input.clone());
                    }
                }
                _ => {
                    let path = change.path.display();
                    return Err(format!("{path}: \"inputs\" is not an array, so nothing was changed."));
                }
            }
            let mut added: Value = serde_json::from_str(&change.added).map_err(|error| error.to_string())?;
            added["inputs"] = json!([input]);
            (change.added, change.whole) = (pretty(&added), pretty(&whole));
            Ok(change)
        }
        McpClient::Codex => in_toml(home.join(".codex/config.toml"), url),
    }
}

/// Adds a server to an object of a JSON file.
fn in_json(path: PathBuf, object: &str, server: Value, then: &'static str) -> Result<ConfigChange, String> {
    let text = read(&path)?;
    let mut whole: Value = match text.trim() {
        "" => Value::Object(Map::new()),
        text => serde_json::from_str(text).map_err(|error| {
            format!("{} is not plain JSON, so nothing was changed: {error}. Add the server by hand.", path.display())
        })?,
    };
    let servers = whole.as_object_mut().map(|it| it.entry(object).or_insert_with(|| json!({})));
    let Some(Value::Object(servers)) = servers else {
        return Err(format!("{}: {object:?} is not an object, so nothing was changed.", path.display()));
    };
    servers.insert(NAME.into(), server.clone());
    let added = pretty(&json!({object: {NAME: server}}));
    Ok(ConfigChange { path, added, whole: pretty(&whole), holds_key: false, then })
}

/// Adds a server to a TOML file. A section of a table may stand anywhere, so it is put at the end, and the rest stays as it is.
fn in_toml(path: PathBuf, url: &str) -> Result<ConfigChange, String> {
    let text = read(&path)?;
    let section = format!("[mcp_servers.{NAME}]");
    if text.lines().any(|line| line.trim() == section) {
        return Err(format!("{} has {section} already. Change its url there.", path.display()));
    }
    let added = format!("{section}\nurl = {}\nbearer_token_env_var = \"KITH_KEY\"\n", Value::from(url));
    let between = if text.is_empty() || text.ends_with("\n\n") {
        ""
    } else if text.ends_with('\n') {
        "\n"
    } else {
        "\n\n"
    };
    let whole = format!("{text}{between}{added}");
    let then = "Start Codex with the API key in the environment variable KITH_KEY.";
    Ok(ConfigChange { path, added, whole, holds_key: false, then })
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

fn read(path: &Path) -> Result<String, String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("can't read {}: {error}", path.display())),
    }
}

/// Writes a file as a whole or not at all. A new one, and one that holds a key, is for its owner alone.
fn write(change: &ConfigChange) -> Result<(), String> {
    let (path, text) = (&change.path, &change.whole);
    let failed = |error: io::Error| format!("can't write {}: {error}", path.display());
    // A link leads to where the person keeps the file.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let beside = path.with_extension("kith-new");
    let most = if change.holds_key { 0o600 } else { 0o777 };
    let mode = fs::metadata(path).map_or(0o600, |it| it.permissions().mode() & most);
    let _ = fs::remove_file(&beside);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://crm.example/mcp";

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("kith-install-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn what_else_is_in_a_file_stays() {
        let home = folder("stays");
        fs::write(home.join(".claude.json"), "{\"theme\": \"dark\", \"mcpServers\": {\"other\": {\"url\": \"x\"}}}")
            .unwrap();
        let change = change(McpClient::Claude, &home, URL, Some("sk_live_0123456789")).unwrap();
        write(&change).unwrap();
        let whole: Value = serde_json::from_str(&fs::read_to_string(home.join(".claude.json")).unwrap()).unwrap();
        assert_eq!((&whole["theme"], &whole["mcpServers"]["other"]["url"]), (&json!("dark"), &json!("x")));
        assert_eq!(whole["mcpServers"]["kith"]["headers"]["Authorization"], "Bearer sk_live_0123456789");
        assert_eq!(hidden("sk_live_0123456789"), "sk_live_…6789");
    }

    #[test]
    fn every_client_gets_a_file_of_its_own() {
        let home = folder("clients");
        for client in [McpClient::Cursor, McpClient::Vscode, McpClient::Codex] {
            let first = change(client, &home, URL, None).unwrap();
            write(&first).unwrap();
            assert!(first.whole.contains(URL) && !first.whole.contains("null"), "{}", first.whole);
            assert_eq!(fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o600);
            match client {
                McpClient::Codex => assert!(change(client, &home, URL, None).is_err()),
                _ => assert_eq!(change(client, &home, URL, None).unwrap().whole, first.whole),
            }
        }
        assert!(change(McpClient::Claude, &home, URL, None).is_err());
    }

    #[test]
    fn a_file_that_is_not_understood_is_left_alone() {
        let home = folder("alone");
        fs::create_dir_all(home.join(".cursor")).unwrap();
        for text in ["{ // a comment\n}", "[1]", "{\"mcpServers\": []}"] {
            fs::write(home.join(".cursor/mcp.json"), text).unwrap();
            assert!(change(McpClient::Cursor, &home, URL, None).is_err(), "{text}");
        }
        fs::create_dir_all(home.join(".codex")).unwrap();
        fs::write(home.join(".codex/config.toml"), "model = \"x\"").unwrap();
        let whole = change(McpClient::Codex, &home, URL, None).unwrap().whole;
        assert_eq!(
            whole,
            format!("model = \"x\"\n\n[mcp_servers.kith]\nurl = \"{URL}\"\nbearer_token_env_var = \"KITH_KEY\"\n")
        );
    }
}
