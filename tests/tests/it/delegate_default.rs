//! The built-in bundle: what it delegates with, and what each request pays for that.

use amplifier_tests::process::run;
use amplifier_tests::project::TempProject;
use amplifier_tests::server::{Reply, Server};

/// Settings with a provider at this address.
pub(crate) fn settings(project: &TempProject, url: &str) {
    let provider =
        format!("{{module: provider-openai-compatible, config: {{base_url: \"{url}\", default_model: m}}}}");
    let home = project.home();
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("settings.yaml"), format!("config: {{providers: [{provider}]}}\n")).unwrap();
}

#[test]
fn a_request_of_the_built_in_bundle_stays_within_4_kib() {
    let (project, server) = (TempProject::new(), Server::start([Reply::Say("hello")]));
    settings(&project, &server.url());
    run(&project, ["run", "hi"]).exits(0);
    let request = server.requests().remove(0);
    let tools: Vec<&str> = request["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["function"]["name"].as_str().unwrap())
        .collect();
    assert!(tools.contains(&"delegate") && tools.len() == 9, "{tools:?}");
    let bytes = request.to_string().len();
    assert!(bytes <= 4_096, "{bytes} bytes");
}
