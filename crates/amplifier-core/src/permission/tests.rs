//! Tests of the permission layers.

use super::*;

fn path(text: &str) -> ResolvedPath {
    ResolvedPath::vouched(PathBuf::from(text))
}

fn rule(effect: RuleEffect, text: &str) -> Rule {
    Rule::parse(effect, text, Path::new("/proj"), Path::new("/home/u")).unwrap()
}

#[test]
fn the_table_of_modes() {
    use Ruling::*;
    let accesses = [
        Access::Read(path("/etc/hosts")),
        Access::Write(path("/proj/src/a")),
        Access::Write(path("/projector/a")),
        Access::Shell("ls".into()),
        Access::Network("example.org".into()),
        Access::Mcp("git/git_log".into()),
    ];
    let check = |mode, asked, expect: [Ruling; 6]| {
        let layer = Layer::of_mode("test", mode, vec![PathBuf::from("/proj")]);
        let got: Vec<Ruling> = accesses.iter().map(|access| layer.rule(access, asked)).collect();
        assert_eq!(got, expect, "{mode:?}, asked: {asked}");
    };
    let headless = [Allow, Allow, Deny, Sandboxed, Deny, Allow];
    check(Mode::Default, true, [Allow, Allow, Ask, Ask, Ask, Ask]);
    check(Mode::Default, false, headless);
    check(Mode::Plan, true, [Allow, Deny, Deny, Deny, Deny, Deny]);
    check(Mode::Plan, false, [Allow, Deny, Deny, Deny, Deny, Deny]);
    check(Mode::AcceptEdits, true, [Allow, Allow, Ask, Ask, Ask, Ask]);
    check(Mode::AcceptEdits, false, headless);
    check(Mode::DontAsk, true, headless);
    check(Mode::DontAsk, false, headless);
    check(Mode::BypassPermissions, false, [Allow; 6]);
}

#[test]
fn a_rule_speaks_of_a_server_with_all_its_tools_or_of_one() {
    let check = |text: &str, access: &str, expect: bool| {
        let matches = rule(RuleEffect::Deny, text).matches(&Access::Mcp(access.into()));
        assert_eq!(matches, expect, "{text} {access}");
    };
    for (text, of_git, of_log, of_other) in [
        ("mcp", true, true, true),
        ("mcp(Git)", true, true, false),
        ("mcp(git/git_log)", false, true, false),
        ("mcp(*/git_*)", false, true, false),
        ("mcp(gi)", false, false, false),
    ] {
        check(text, "git", of_git);
        check(text, "git/git_log", of_log);
        check(text, "files/read", of_other);
    }
    assert_eq!(Access::Mcp("git/git_log".into()).to_string(), "use git_log of MCP server git");
}

#[test]
fn deny_beats_ask_beats_allow_and_a_rule_beats_the_mode() {
    let mut layer = Layer::of_mode("test", Mode::DontAsk, vec![PathBuf::from("/proj")]);
    layer.rules = vec![
        rule(RuleEffect::Allow, "write(/tmp/out/**)"),
        rule(RuleEffect::Deny, "write(secrets)"),
        rule(RuleEffect::Allow, "write(secrets/public/**)"),
        rule(RuleEffect::Allow, "network(*.example.org)"),
        rule(RuleEffect::Ask, "Shell(git push*)"),
        rule(RuleEffect::Allow, "shell(git *)"),
    ];
    let check = |access: Access, expect| assert_eq!(layer.rule(&access, true), expect, "{access}");
    check(Access::Write(path("/tmp/out/a/b")), Ruling::Allow);
    check(Access::Write(path("/tmp/other")), Ruling::Deny);
    check(Access::Write(path("/proj/secrets/key")), Ruling::Deny);
    check(Access::Write(path("/proj/secrets/public/key")), Ruling::Deny);
    check(Access::Network("API.example.org".into()), Ruling::Allow);
    check(Access::Network("example.org.evil.net".into()), Ruling::Deny);
    check(Access::Shell("git status".into()), Ruling::Allow);
    check(Access::Shell("git".into()), Ruling::Allow);
    check(Access::Shell("git push origin".into()), Ruling::Ask);
    check(Access::Shell("git status; rm -rf /".into()), Ruling::Sandboxed);
    check(Access::Shell("git status $(rm x)".into()), Ruling::Sandboxed);
    check(Access::Shell("ls && git push".into()), Ruling::Ask);
}

#[test]
fn an_ask_rule_denies_where_nobody_can_be_asked() {
    let mut layer = Layer::of_mode("test", Mode::Default, vec![PathBuf::from("/proj")]);
    layer.rules =
        vec![rule(RuleEffect::Ask, "read(/proj/private)"), rule(RuleEffect::Ask, "shell(git push*)")];
    let permissions = Permissions::unrestricted().with(layer);
    for access in [Access::Read(path("/proj/private/a")), Access::Shell("git push".into())] {
        assert_eq!(permissions.decide(&access, true).ruling, Ruling::Ask, "{access}");
        let unasked = permissions.decide(&access, false);
        assert_eq!((unasked.ruling, unasked.unasked), (Ruling::Deny, true), "{access}");
    }
}

#[test]
fn a_kind_alone_stands_for_all_of_it() {
    assert!(rule(RuleEffect::Deny, "write").matches(&Access::Write(path("/etc/x"))));
    assert!(rule(RuleEffect::Deny, "shell").matches(&Access::Shell("any thing".into())));
    assert!(rule(RuleEffect::Deny, "Network").matches(&Access::Network("a.b".into())));
}

#[test]
fn a_refusal_that_somebody_could_have_lifted_is_marked() {
    let permissions =
        Permissions::unrestricted().with(Layer::of_mode("mode", Mode::Default, vec![PathBuf::from("/proj")]));
    let decision = permissions.decide(&Access::Write(path("/etc/x")), false);
    assert_eq!((decision.ruling, decision.unasked), (Ruling::Deny, true));
    let plan = permissions.with(Layer::of_mode("plan", Mode::Plan, vec![]));
    let decision = plan.decide(&Access::Write(path("/etc/x")), false);
    assert_eq!((decision.ruling, decision.unasked, decision.origin.as_str()), (Ruling::Deny, false, "mode"));
}

#[test]
fn malformed_rules_are_refused() {
    for bad in ["", "write(", "fly(x)", "write()", "write(a"] {
        assert!(Rule::parse(RuleEffect::Allow, bad, Path::new("/"), Path::new("/")).is_err(), "{bad:?}");
    }
}

#[test]
fn sandboxed_commands_write_only_where_all_layers_agree() {
    let roots = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    let parent =
        Permissions::unrestricted().with(Layer::of_mode("p", Mode::DontAsk, roots(&["/proj", "/data"])));
    assert_eq!(parent.writable_roots(), roots(&["/proj", "/data"]));
    let child = parent.with(Layer::of_mode("c", Mode::DontAsk, roots(&["/proj/sub", "/"])));
    assert_eq!(child.writable_roots(), roots(&["/data", "/proj", "/proj/sub"]));
    let plan = parent.with(Layer::of_mode("plan", Mode::Plan, roots(&["/proj"])));
    assert!(plan.writable_roots().is_empty());
    let denied = parent.with(Layer::of_rules("deny", vec![rule(RuleEffect::Deny, "write(/data)")]));
    assert_eq!(denied.writable_roots(), roots(&["/proj"]));
}

proptest::proptest! {
    #[test]
    fn one_more_layer_never_allows_more(
        modes in proptest::collection::vec(0usize..5, 1..4),
        own in 0usize..5,
        access in 0usize..5,
        asked: bool,
    ) {
        let all = [Mode::Default, Mode::Plan, Mode::AcceptEdits, Mode::DontAsk, Mode::BypassPermissions];
        let layer = |index: usize| Layer::of_mode("l", all[index], vec![PathBuf::from("/proj")]);
        let parent = modes.iter().fold(Permissions::unrestricted(), |list, index| list.with(layer(*index)));
        let child = parent.with(layer(own));
        let access = [
            Access::Read(path("/x")), Access::Write(path("/proj/x")), Access::Write(path("/x")),
            Access::Shell("x".into()), Access::Network("x".into()),
        ][access].clone();
        proptest::prop_assert!(child.decide(&access, asked).ruling >= parent.decide(&access, asked).ruling);
    }
}
