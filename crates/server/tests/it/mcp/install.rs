//! `kith mcp install`: what it writes into the configurations of clients.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::Child;

const KEY: &str = "acrm_live_0123456789abcdef";

/// A home directory for one test.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path = std::env::temp_dir().join(format!("kith-home-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a home");
        Home(path)
    }

    fn at(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    fn has(&self, file: &str, text: &str, mode: u32) {
        let path = self.at(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    fn json(&self, file: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.at(file)).expect("a file")).expect("JSON")
    }

    fn mode(&self, file: &str) -> u32 {
        fs::metadata(self.at(file)).expect("a file").permissions().mode() & 0o777
    }

    fn install(&self, arguments: &[&str], key: &str) -> Output {
        let mut line = Child::bare(Path::new(env!("CARGO_BIN_EXE_kith")), "mcp");
        line.args(["--url", "https://crm.example", "install"]).args(arguments);
        line.env("HOME", &self.0).env("KITH_KEY", key).stdin(Stdio::null()).output().expect("an end")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The file of each client, and where its address is in it.
const FILES: [(&str, &str, &str); 3] = [
    ("claude", ".claude.json", "/mcpServers/kith/url"),
    ("cursor", ".cursor/mcp.json", "/mcpServers/kith/url"),
    ("vscode", ".config/Code/User/mcp.json", "/servers/kith/url"),
];

#[test]
#[cfg(not(target_os = "macos"))]
fn the_rest_of_a_configuration_stays_and_a_second_time_changes_nothing() {
    let home = Home::new("stays");
    let before = json!({"theme": "dark", "mcpServers": {"other": {"url": "x"}}, "servers": {"other": {"url": "x"}}, "inputs": [{"id": "mine"}]});
    for (client, file, address) in FILES {
        home.has(file, &before.to_string(), 0o644);
        let output = home.install(&[client, "--yes", "--tools", "core"], KEY);
        assert!(output.status.success(), "{client}: {}", said(&output));
        let after = home.json(file);
        assert_eq!(after.pointer(address), Some(&json!("https://crm.example/mcp?tools=core")), "{client}: {after}");
        assert_eq!((&after["theme"], &after["inputs"][0]["id"]), (&json!("dark"), &json!("mine")), "{client}");
        for servers in ["mcpServers", "servers"] {
            assert_eq!(after[servers]["other"], json!({"url": "x"}), "{client}");
        }
        let again = home.install(&[client, "--yes", "--tools", "core"], KEY);
        assert!(again.status.success() && home.json(file) == after, "{client}: {}", said(&again));
    }
    home.has(".codex/config.toml", "model = \"x\"\n", 0o644);
    let output = home.install(&["codex", "--yes", "--tools", "core"], KEY);
    assert!(output.status.success(), "{}", said(&output));
    let text = fs::read_to_string(home.at(".codex/config.toml")).expect("a file");
    assert!(
        text.starts_with("model = \"x\"\n\n[mcp_servers.kith]\nurl = \"https://crm.example/mcp?tools=core\"\n"),
        "{text}"
    );
}

#[test]
#[cfg(not(target_os = "macos"))]
fn a_key_is_in_no_file_but_claudes_which_is_for_its_owner_alone() {
    let home = Home::new("keys");
    for (client, file, _) in FILES {
        home.has(file, "{}", 0o644);
        let output = home.install(&[client, "--yes"], KEY);
        assert!(output.status.success(), "{client}: {}", said(&output));
        assert!(!said(&output).contains(KEY), "{client} shows the key: {}", said(&output));
        let holds_key = fs::read_to_string(home.at(file)).expect("a file").contains(KEY);
        assert_eq!(
            (holds_key, home.mode(file)),
            if client == "claude" { (true, 0o600) } else { (false, 0o644) },
            "{client}"
        );
    }
    let inputs = home.json(FILES[2].1)["inputs"].clone();
    assert_eq!(
        inputs,
        json!([{"type": "promptString", "id": "kith", "description": "Kith API key", "password": true}])
    );
    // A new file is for its owner alone, whatever it holds.
    let fresh = Home::new("fresh");
    for (client, file) in [("claude", ".claude.json"), ("cursor", ".cursor/mcp.json"), ("codex", ".codex/config.toml")]
    {
        assert!(fresh.install(&[client, "--yes"], KEY).status.success());
        assert_eq!(fresh.mode(file), 0o600, "{client}");
    }
    // Claude Code needs the key, the others ask for it or read it themselves.
    let without = Home::new("without");
    let refused = without.install(&["claude", "--yes"], "");
    assert!(!refused.status.success() && said(&refused).contains("KITH_KEY is not set"), "{}", said(&refused));
    assert!(without.install(&["vscode", "--yes"], "").status.success());
}

#[test]
#[cfg(not(target_os = "macos"))]
fn what_is_written_is_shown_first_and_only_written_by_consent() {
    let home = Home::new("shown");
    for (client, file, part) in [
        ("claude", ".claude.json", "\"Authorization\": \"Bearer acrm_live_…cdef\""),
        ("cursor", ".cursor/mcp.json", "${env:KITH_KEY}"),
        ("codex", ".codex/config.toml", "bearer_token_env_var"),
        ("vscode", ".config/Code/User/mcp.json", "promptString"),
    ] {
        // Standard input is no terminal, so that nobody can agree.
        let output = home.install(&[client], KEY);
        let text = said(&output);
        assert!(!output.status.success() && text.contains("--yes"), "{client}: {text}");
        assert!(
            text.contains(file) && text.contains(part) && text.contains("https://crm.example/mcp"),
            "{client}: {text}"
        );
        assert!(!text.contains(KEY) && !home.at(file).exists(), "{client}: {text}");
    }
}

#[test]
#[cfg(not(target_os = "macos"))]
fn a_file_that_is_not_understood_is_left_alone() {
    let home = Home::new("alone");
    for (client, file, _) in FILES {
        let wrong = if client == "vscode" { "{\"servers\": [], \"inputs\": 7}" } else { "{\"mcpServers\": []}" };
        for text in ["{ // a comment\n}", "[1]", "{", wrong] {
            home.has(file, text, 0o644);
            let output = home.install(&[client, "--yes"], KEY);
            assert!(
                !output.status.success() && said(&output).contains("nothing was changed"),
                "{client} {text}: {}",
                said(&output)
            );
            assert_eq!(fs::read_to_string(home.at(file)).expect("a file"), text);
            let folder = home.at(file).parent().expect("a folder").to_owned();
            let left: Vec<String> = fs::read_dir(folder)
                .expect("a folder")
                .flatten()
                .map(|it| it.file_name().to_string_lossy().into_owned())
                .collect();
            assert!(!left.iter().any(|name| name.contains("kith-new")), "{left:?}");
        }
    }
    home.has(FILES[2].1, "{\"servers\": {}, \"inputs\": 7}", 0o644);
    assert!(said(&home.install(&["vscode", "--yes"], KEY)).contains("\"inputs\" is not an array"));
    home.has(".codex/config.toml", "[mcp_servers.kith]\nurl = \"x\"\n", 0o644);
    assert!(said(&home.install(&["codex", "--yes"], KEY)).contains("already"));
}
