//! The examples of settings in `docs/` are without a fault.

use amplifier_bundle::settings::environment::ProcessEnv;
use amplifier_bundle::settings::home::AmplifierHome;
use amplifier_bundle::settings::{Flags, ProjectTrust, SettingsFiles, load};

use crate::docs_bundles::{examples, page};

#[test]
fn every_example_of_settings_is_read_without_a_warning() {
    let pages = ["settings.md", "tools.md"];
    let all: Vec<_> = pages.iter().flat_map(|name| examples(&page(name))).collect();
    let of_settings: Vec<_> = all.iter().filter(|example| example.info == "yaml settings").collect();
    assert!(!of_settings.is_empty(), "no example is ```yaml settings");
    for example in of_settings {
        let folder = tempfile::tempdir().unwrap();
        let home = AmplifierHome::at(folder.path().join("home"));
        std::fs::create_dir(home.path()).unwrap();
        std::fs::write(home.settings_file(), &example.text).unwrap();
        let files = SettingsFiles::new(&home, folder.path());
        let none: [(&str, &str); 0] = [];
        let environment = ProcessEnv::from_pairs(none);
        let settings = load(&files, &environment, &Flags::default(), ProjectTrust::Untrusted).unwrap();
        assert!(settings.warnings.is_empty(), "line {}: {:#?}", example.line, settings.warnings);
        assert!(settings.ignored.is_empty(), "line {}: {:#?}", example.line, settings.ignored);
    }
}

#[test]
fn no_example_of_settings_is_left_unchecked() {
    for example in examples(&page("settings.md")) {
        assert!(
            !example.info.starts_with("yaml") || example.info == "yaml settings",
            "line {}",
            example.line
        );
    }
}
