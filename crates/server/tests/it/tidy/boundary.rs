//! `docs/boundary.md` names a test for each property. This checks that each of them exists.

use super::{Path, fs, root};

#[test]
fn every_test_that_boundary_md_names_exists() {
    let text = fs::read_to_string(root().join("docs/boundary.md")).expect("docs/boundary.md");
    let names = text.split('`').skip(1).step_by(2).filter(|name| name.contains("::") && !name.starts_with("pg::"));
    let mut count = 0;
    for name in names {
        let (module, test) = name.rsplit_once("::").expect("a path");
        let it = root().join("crates/server/tests/it");
        let file = it.join(format!("{}.rs", module.replace("::", "/")));
        let file = if file.exists() { file } else { it.join(module.replace("::", "/")).join("mod.rs") };
        assert!(has_test(&file, test), "{name} is not a test in {}", file.display());
        count += 1;
    }
    assert!(count > 30, "only {count} tests are named");
}

fn has_test(file: &Path, test: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|source| source.contains(&format!("fn {test}()")))
}
