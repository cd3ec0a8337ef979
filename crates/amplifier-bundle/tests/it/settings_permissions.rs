//! From settings to the layers of a session.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use amplifier_bundle::settings::environment::ProcessEnv;
use amplifier_bundle::settings::{
    Flags, PermissionContext, PermissionsError, ProjectTrust, Scope, load, permission_layers,
};
use amplifier_core::Permissions;
use amplifier_core::permission::{Access, Mode, ResolvedPath, Ruling};

use crate::settings::World;

fn write(path: PathBuf) -> Access {
    Access::Write(ResolvedPath::vouched(path))
}

fn read(path: PathBuf) -> Access {
    Access::Read(ResolvedPath::vouched(path))
}

fn layers(world: &World, mode: Option<Mode>, asked: bool) -> Permissions {
    let mut flags = Flags::default();
    flags.permission_mode = mode;
    let settings = load(&world.files(), &ProcessEnv::default(), &flags, ProjectTrust::Trusted).unwrap();
    let add_dirs = [world.path("added")];
    let (project, home) = (world.path("project"), world.home());
    let context = PermissionContext { project: &project, add_dirs: &add_dirs, home: &home, asked };
    permission_layers(&settings, &context).unwrap()
}

#[test]
fn the_project_and_added_directories_are_writable_and_the_rest_asks() {
    let world = World::new();
    fs::create_dir(world.path("added")).unwrap();
    let permissions = layers(&world, None, true);
    let check = |path: &str, asked: Ruling, alone: Ruling| {
        let access = write(world.path(path));
        assert_eq!(permissions.decide(&access, true).ruling, asked, "{path}");
        assert_eq!(permissions.decide(&access, false).ruling, alone, "{path}");
    };
    check("project/src/a.rs", Ruling::Allow, Ruling::Allow);
    check("added/a", Ruling::Allow, Ruling::Allow);
    check("project-2/a", Ruling::Ask, Ruling::Deny);
    assert_eq!(permissions.writable_roots(), [world.path("project"), world.path("added")]);
}

#[test]
fn the_guard_keeps_a_model_from_widening_its_rights() {
    let world = World::new();
    world.write(Scope::User, "permissions: {allow: [write, read, shell, network]}");
    let permissions = layers(&world, Some(Mode::DontAsk), false);
    let deny = |access: &Access| {
        for asked in [true, false] {
            assert_eq!(permissions.decide(access, asked).ruling, Ruling::Deny, "{access}");
        }
    };
    for path in [
        "home/keys.env",
        "home/trust.json",
        "home/settings.yaml",
        "home/registry.json",
        "home/cache/x/bundle.md",
        "home/projects/p/sessions/s/metadata.json",
        "project/.amplifier/settings.yaml",
        "project/.amplifier/settings.local.yaml",
        "project/.amplifier/background.yaml",
        "project/.git/config",
        "project/.git/config.worktree",
        "project/.git/hooks/pre-commit",
        "project/vendor/lib/.git/hooks/post-merge",
        "project/.git/modules/sub/config",
    ] {
        deny(&write(world.path(path)));
    }
    deny(&read(world.path("home/keys.env")));
    deny(&read(world.path("home/trust.json")));
    for path in [
        "home/bundles/b.md",
        "project/.amplifier/bundles/b.md",
        "project/.amplifier/agents/a.md",
        "project/foreman.yaml",
    ] {
        let access = write(world.path(path));
        assert_eq!(permissions.decide(&access, true).ruling, Ruling::Ask, "{path}");
        let alone = permissions.decide(&access, false);
        assert_eq!((alone.ruling, alone.unasked), (Ruling::Deny, true), "{path}");
    }
    for path in ["project/.git/index", "project/.github/config", "project/settings.yaml", "elsewhere"] {
        assert_eq!(permissions.decide(&write(world.path(path)), false).ruling, Ruling::Allow, "{path}");
    }
    assert_eq!(permissions.decide(&read(world.path("home/settings.yaml")), false).ruling, Ruling::Allow);
}

#[test]
fn the_guard_follows_links() {
    let world = World::new();
    fs::create_dir(world.path("dotfiles")).unwrap();
    fs::write(world.path("dotfiles/keys.env"), "").unwrap();
    symlink(world.path("dotfiles/keys.env"), world.path("home/keys.env")).unwrap();
    symlink(world.path("dotfiles/not-yet.yaml"), world.path("project/.amplifier/settings.yaml")).unwrap();
    fs::write(world.path("project/.git"), "gitdir: /elsewhere").unwrap();
    world.write(Scope::User, "permissions: {allow: [read, write]}");
    let permissions = layers(&world, Some(Mode::DontAsk), false);
    for access in [
        read(world.path("dotfiles/keys.env")),
        write(world.path("dotfiles/not-yet.yaml")),
        write(world.path("project/.git")),
    ] {
        assert_eq!(permissions.decide(&access, true).ruling, Ruling::Deny, "{access}");
    }
}

#[test]
fn bypass_has_no_guard_and_does_not_ask_but_denials_hold() {
    let world = World::new();
    world.write(Scope::User, "permissions: {ask: [shell], deny: [write(/etc)]}");
    let permissions = layers(&world, Some(Mode::BypassPermissions), true);
    let check =
        |access: Access, expect| assert_eq!(permissions.decide(&access, true).ruling, expect, "{access}");
    check(write(world.path("project/.git/config")), Ruling::Allow);
    check(Access::Shell("rm -rf build".into()), Ruling::Allow);
    check(write("/etc/hosts".into()), Ruling::Deny);
}

#[test]
fn rules_of_all_scopes_add_up_and_deny_wins() {
    let world = World::new();
    world
        .write(
            Scope::User,
            "permissions: {mode: dontAsk, deny: ['read(~/private)'], allow: ['network(*.example.org)']}",
        )
        .write(
            Scope::Project,
            "permissions: {allow: ['write(/data/**)', 'read(~/private/ok)'], deny: ['write(gen/*)']}",
        )
        .write(
            Scope::Local,
            "permissions: {allow: ['write(gen/*)', 'shell(git *)'], ask: ['shell(git push*)']}",
        );
    let permissions = layers(&world, None, true);
    let check =
        |access: Access, expect| assert_eq!(permissions.decide(&access, true).ruling, expect, "{access}");
    check(read(world.path("user/private/ok")), Ruling::Deny);
    check(write("/data/x/y".into()), Ruling::Allow);
    check(write("/data-2".into()), Ruling::Deny);
    check(write(world.path("project/gen/a")), Ruling::Deny);
    check(Access::Network("api.example.org".into()), Ruling::Allow);
    check(Access::Network("example.com".into()), Ruling::Deny);
    check(Access::Shell("git status".into()), Ruling::Allow);
    check(Access::Shell("git push".into()), Ruling::Ask);
    check(Access::Shell("make".into()), Ruling::Sandboxed);
    let origin = permissions.decide(&Access::Network("example.com".into()), true).origin;
    assert!(origin.contains("mode dontAsk (user settings") && origin.contains("settings.yaml:1"), "{origin}");
}

#[test]
fn a_rule_to_ask_denies_where_nobody_can_be_asked() {
    let world = World::new();
    let rules = "permissions: {ask: ['read(secrets)', 'shell(git push*)', 'write(src/**)', network], allow: [network]}";
    world.write(Scope::User, rules);
    let permissions = layers(&world, None, false);
    for access in [
        read(world.path("project/secrets/a")),
        Access::Shell("git push".into()),
        write(world.path("project/src/a")),
        Access::Network("example.org".into()),
    ] {
        assert_eq!(permissions.decide(&access, false).ruling, Ruling::Deny, "{access}");
        assert_eq!(layers(&world, None, true).decide(&access, true).ruling, Ruling::Ask, "{access}");
    }
}

#[test]
fn a_kind_alone_and_the_home_alone_speak_of_all_of_it() {
    let world = World::new();
    world.write(Scope::User, "permissions: {deny: [Write, 'read(~)']}");
    let permissions = layers(&world, None, true);
    for access in [write("/anywhere".into()), write(world.path("project/a")), read(world.path("user/a/b"))] {
        assert_eq!(permissions.decide(&access, true).ruling, Ruling::Deny, "{access}");
    }
    assert!(permissions.writable_roots().is_empty());
    assert_eq!(permissions.decide(&read(world.path("project/a")), true).ruling, Ruling::Allow);
}

#[test]
fn plan_reads_only_whatever_the_rules_allow() {
    let world = World::new();
    world.write(Scope::User, "permissions: {allow: [write, shell, network], deny: ['read(secrets)']}");
    let permissions = layers(&world, Some(Mode::Plan), true);
    let check =
        |access: Access, expect| assert_eq!(permissions.decide(&access, true).ruling, expect, "{access}");
    check(write(world.path("project/a")), Ruling::Deny);
    check(Access::Shell("ls".into()), Ruling::Deny);
    check(read(world.path("project/a")), Ruling::Allow);
    check(read(world.path("project/secrets")), Ruling::Deny);
}

#[test]
fn a_rule_speaks_of_a_link_and_of_its_target() {
    let world = World::new();
    fs::create_dir_all(world.path("vault/deep")).unwrap();
    symlink(world.path("vault"), world.path("project/link")).unwrap();
    world.write(Scope::User, "permissions: {deny: ['read(link/**)', 'write(link/deep/*.key)']}");
    let permissions = layers(&world, None, true);
    assert_eq!(permissions.decide(&read(world.path("vault/a")), true).ruling, Ruling::Deny);
    assert_eq!(permissions.decide(&write(world.path("vault/deep/a.key")), true).ruling, Ruling::Deny);
    assert_eq!(permissions.decide(&write(world.path("vault/deep/a.txt")), true).ruling, Ruling::Ask);
}

#[test]
fn a_directory_with_wildcards_in_its_name_is_taken_literally() {
    let world = World::new();
    let project = world.path("a[b]{c}*!");
    fs::create_dir_all(&project).unwrap();
    world.write(Scope::User, "permissions: {deny: ['write(gen/**)']}");
    let settings = world.load(ProjectTrust::Trusted).unwrap();
    let home = world.home();
    let context = PermissionContext { project: &project, add_dirs: &[], home: &home, asked: true };
    let permissions = permission_layers(&settings, &context).unwrap();
    let check = |path: PathBuf, expect| assert_eq!(permissions.decide(&write(path), true).ruling, expect);
    check(project.join("gen/a"), Ruling::Deny);
    check(project.join(".git/config"), Ruling::Deny);
    check(project.join("src/a"), Ruling::Allow);
}

#[test]
fn a_rule_in_an_unknown_home_is_an_error() {
    let world = World::new();
    world.write(Scope::User, "permissions: {deny: ['read(~/x)']}");
    let settings = world.load(ProjectTrust::Trusted).unwrap();
    let home = amplifier_bundle::settings::home::AmplifierHome::at(world.path("home"));
    let project = world.path("project");
    let context = PermissionContext { project: &project, add_dirs: &[], home: &home, asked: true };
    let error = permission_layers(&settings, &context).unwrap_err();
    assert!(matches!(&error, PermissionsError::NoUserHome { rule } if rule == "read(~/x)"), "{error}");
}
