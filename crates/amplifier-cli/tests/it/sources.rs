//! Bundles from archives, from the web and from repositories, and `bundle update`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::kit::Place;
#[cfg(target_os = "linux")]
use crate::person::Person;

/// A web server of one path whose content can be changed; it knows entity tags.
struct Web {
    url: String,
    content: Arc<Mutex<Vec<u8>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start(name: &str, content: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/{name}", listener.local_addr().unwrap());
        let (content, asked) = (Arc::new(Mutex::new(content.to_vec())), Arc::new(Mutex::new(Vec::new())));
        let (body, heads) = (Arc::clone(&content), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head: Vec<String> = BufReader::new(&stream)
                    .lines()
                    .map(Result::unwrap)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let body = body.lock().unwrap().clone();
                let etag = format!("\"{}\"", body.len());
                let same = head
                    .iter()
                    .any(|line| line.to_lowercase().starts_with("if-none-match:") && line.ends_with(&etag));
                heads.lock().unwrap().push(head.join("\n"));
                let answer = match same {
                    true => format!("HTTP/1.1 304 Not Modified\r\netag: {etag}\r\nconnection: close\r\n\r\n")
                        .into_bytes(),
                    false => {
                        let head = format!(
                            "HTTP/1.1 200 OK\r\netag: {etag}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                            body.len()
                        );
                        [head.into_bytes(), body].concat()
                    }
                };
                let _ = stream.write_all(&answer);
            }
        });
        Self { url, content, asked }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn bundle(answer: &str) -> String {
    format!(
        "---\nbundle: {{name: far, version: 1.0.0}}\nsession: {{orchestrator: loop-basic, context: context-simple}}\n\
         providers: [{{module: provider-scripted, config: {{script: [{{text: {answer}}}]}}}}]\n---\nSay it.\n"
    )
}

/// A stored (not compressed) archive: names, contents, and the mode of each.
fn zip(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let entry = |(name, content, mode): &(&str, &[u8], u32)| Entry {
        name: (*name).to_owned(),
        mode: *mode,
        method: 0,
        crc: crc32(content),
        says_bytes: content.len() as u32,
        packed: content.to_vec(),
    };
    archive(&entries.iter().map(entry).collect::<Vec<_>>())
}

/// An entry of an archive, and what that says of it.
struct Entry {
    name: String,
    mode: u32,
    method: u16,
    crc: u32,
    says_bytes: u32,
    packed: Vec<u8>,
}

/// So many zeros, packed: the fixed codes of deflate, of which one of thirteen bits stands for 258 bytes.
fn zeros(name: &str, bytes: usize, says_bytes: u32) -> Entry {
    let (mut packed, mut byte, mut filled) = (Vec::new(), 0u8, 0);
    let mut bit = |value: u32| {
        byte |= ((value & 1) as u8) << filled;
        filled += 1;
        if filled == 8 {
            packed.push(std::mem::take(&mut byte));
            filled = 0;
        }
    };
    // The last block, of fixed codes; a zero; then its repetitions (length 258, distance 1); the end.
    let first: [u32; 11] = [1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0];
    first.into_iter().for_each(&mut bit);
    let repeated: [u32; 13] = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
    for _ in 0..bytes / 258 {
        repeated.into_iter().for_each(&mut bit);
    }
    (0..7 + 7).for_each(|_| bit(0));
    Entry { name: name.into(), mode: FILE, method: 8, crc: 0, says_bytes, packed }
}

fn archive(entries: &[Entry]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for Entry { name, mode, method, crc, says_bytes, packed } in entries {
        let offset = file.len() as u32;
        let common = |out: &mut Vec<u8>| {
            for part in [20u16, 0, *method, 0, 0x21] {
                out.extend(part.to_le_bytes());
            }
            for part in [*crc, packed.len() as u32, *says_bytes] {
                out.extend(part.to_le_bytes());
            }
            out.extend((name.len() as u16).to_le_bytes());
            out.extend(0u16.to_le_bytes());
        };
        file.extend(0x0403_4b50u32.to_le_bytes());
        common(&mut file);
        file.extend(name.as_bytes());
        file.extend(packed);
        directory.extend(0x0201_4b50u32.to_le_bytes());
        directory.extend((3u16 << 8 | 20).to_le_bytes());
        common(&mut directory);
        for part in [0u16, 0, 0] {
            directory.extend(part.to_le_bytes());
        }
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = file.len() as u32;
    file.extend(&directory);
    file.extend(0x0605_4b50u32.to_le_bytes());
    for part in [0u16, 0, entries.len() as u16, entries.len() as u16] {
        file.extend(part.to_le_bytes());
    }
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend(0u16.to_le_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    };
    !bytes.iter().fold(!0, step)
}

const FILE: u32 = 0o100_644;

#[test]
fn a_bundle_of_the_web_is_fetched_once_and_updated_when_it_changed() {
    let place = Place::new();
    let web = Web::start("far.md", bundle("first").as_bytes());
    let run = || place.run(&["run", "-B", &web.url, "hi"]).ok();
    let done = run();
    assert_eq!(done.stdout, "first\n");
    done.says(&["notice: fetching http://127.0.0.1"]);
    assert!(!run().stderr.contains("fetching"), "the cache is used");
    assert_eq!(web.asked(), 1);
    place.run(&["bundle", "add", &web.url, "--name", "far"]).ok();
    let update = |more: &[&str]| place.run(&[&["bundle", "update"], more, &["--json"]].concat()).ok().json();
    assert_eq!(update(&["far"])[0]["result"], "unchanged");
    *web.content.lock().unwrap() = bundle("second and longer").into_bytes();
    assert_eq!(update(&["far", "--check"])[0]["result"], "can be updated");
    assert_eq!(run().stdout, "first\n", "a check changes nothing");
    let updated = update(&["--all"]);
    assert_eq!(updated[0]["result"], "updated");
    assert_ne!(updated[0]["before"], updated[0]["after"]);
    assert_eq!(run().stdout, "second and longer\n");
    place.run(&["bundle", "update", "fra"]).code(2).says(&["did you mean `far`?"]);
}

#[test]
fn what_takes_its_time_is_told_in_a_line_without_a_terminal() {
    let place = Place::new();
    let web = Web::start("far.md", bundle("first").as_bytes());
    place.run(&["bundle", "add", &web.url, "--name", "far"]).ok();
    // It does not answer before this is let go.
    let held = web.content.lock().unwrap();
    let running = place.call(&["bundle", "update", "far"]).start();
    running.until_said("looking at http://127.0.0.1");
    drop(held);
    let done = running.done().ok();
    assert!(done.stdout.contains("unchanged") && !done.stderr.contains('\u{1b}'), "{done:#?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_fetch_that_takes_its_time_is_shown_at_a_terminal_and_gone_when_it_ends() {
    let place = Place::new();
    let web = Web::start("far.md", bundle("first").as_bytes());
    let held = web.content.lock().unwrap();
    let mut person = Person::calls_with(&place, &["run", "-B", &web.url, "hi"], &[]);
    person.sees("notice: fetching http://127.0.0.1");
    person.sees("reading the bundle (");
    drop(held);
    person.sees("first");
    assert_eq!(person.ends().0, Some(0));
}

#[test]
fn archives_are_unpacked_and_cached_by_what_they_hold() {
    let place = Place::new();
    let first = bundle("zipped");
    let archive = zip(&[
        ("kit-main/bundle.md", first.as_bytes(), FILE),
        ("kit-main/deep/bundle.md", bundle("deep").as_bytes(), FILE),
    ]);
    std::fs::write(place.project().join("kit.zip"), &archive).unwrap();
    let run = |source: &str| place.run(&["run", "-B", source, "hi"]);
    assert_eq!(run("./kit.zip").ok().stdout, "zipped\n");
    assert_eq!(run("./kit.zip#subdirectory=deep").ok().stdout, "deep\n");
    let url = format!("zip+file://{}", place.project().join("kit.zip").display());
    assert_eq!(run(&url).ok().stdout, "zipped\n");
    let web = Web::start("kit.zip", &archive);
    assert_eq!(run(&format!("zip+{}#subdirectory=deep", web.url)).ok().stdout, "deep\n");
    assert_eq!(run(&web.url).ok().stdout, "zipped\n");
    assert_eq!(web.asked(), 1, "one address is fetched once, whichever of its folders is used");
    run("./kit.zip#subdirectory=nowhere").code(2).says(&["kit.zip"]);
    std::fs::write(
        place.project().join("kit.zip"),
        zip(&[("bundle.md", bundle("changed").as_bytes(), FILE)]),
    )
    .unwrap();
    assert_eq!(run("./kit.zip").ok().stdout, "changed\n");
}

#[test]
fn an_archive_that_is_a_trap_is_refused_and_leaves_nothing() {
    let good = bundle("good");
    let check = |archive: &[u8], says: &str| {
        let place = Place::new();
        std::fs::write(place.project().join("trap.zip"), archive).unwrap();
        place.run(&["run", "-B", "./trap.zip", "hi"]).code(2).says(&["trap.zip", says]);
        assert!(!place.project().join("out.md").exists() && !place.home().join("out.md").exists());
        let cached =
            std::fs::read_dir(place.home().join("cache")).unwrap().map(|entry| entry.unwrap().file_name());
        let whole: Vec<_> = cached.filter(|name| !name.to_string_lossy().starts_with('.')).collect();
        assert!(whole.is_empty(), "{whole:?}");
    };
    check(b"not a zip", "it is no zip archive");
    check(&zip(&[("../out.md", good.as_bytes(), FILE)]), "leads out of it");
    check(&zip(&[("a/../../out.md", good.as_bytes(), FILE)]), "leads out of it");
    check(&zip(&[("/out.md", good.as_bytes(), FILE)]), "leads out of it");
    check(&zip(&[("..\\out.md", good.as_bytes(), FILE)]), "leads out of it");
    check(&zip(&[("bundle.md", b"/etc/passwd", 0o120_777)]), "is a link or a device");
    check(&zip(&[("bundle.md", good.as_bytes(), FILE), ("BUNDLE.md", b"x", FILE)]), "stands twice");
    let many: Vec<(String, &[u8], u32)> = (0..5_001).map(|n| (format!("f{n}"), &b""[..], FILE)).collect();
    let many: Vec<(&str, &[u8], u32)> =
        many.iter().map(|(name, content, mode)| (name.as_str(), *content, *mode)).collect();
    check(&zip(&many), "5001 entries");
    let large = vec![b'x'; (32 << 20) + 1];
    check(&zip(&[("bundle.md", &large, FILE)]), "has more than 32 MiB");
}

/// A few kilobytes that unpack to many megabytes, whatever they say of themselves.
#[test]
fn an_archive_that_swells_is_refused_before_it_is_unpacked() {
    // Sound, each of them; only together they are too much.
    let whole = (1 << 20) / 258 * 258 + 1;
    let crc = crc32(&vec![0; whole]);
    let part = |n: u32| Entry { crc, ..zeros(&format!("f{n}"), 1 << 20, whole as u32) };
    for (entries, says) in [
        (vec![zeros("bundle.md", 16 << 20, 16 << 20)], "it may be a trap"),
        (vec![zeros("bundle.md", 16 << 20, 10)], ""),
        ((0..64).map(part).collect(), "it may be a trap"),
    ] {
        let (place, trap) = (Place::new(), archive(&entries));
        assert!(trap.len() < 1 << 20, "{} bytes", trap.len());
        std::fs::write(place.project().join("trap.zip"), trap).unwrap();
        place.run(&["run", "-B", "./trap.zip", "hi"]).code(2).says(&["trap.zip", says]);
        fn bytes(folder: &std::path::Path) -> u64 {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
            entries
                .map(|entry| match entry.file_type().unwrap().is_dir() {
                    true => bytes(&entry.path()),
                    false => entry.metadata().unwrap().len(),
                })
                .sum()
        }
        assert!(bytes(&place.home()) < 1 << 20, "nothing of it is left");
    }
}

#[test]
fn what_cannot_be_fetched_is_one_clear_error() {
    let place = Place::new();
    place
        .run(&["run", "-B", "http://127.0.0.1:9/x.md", "hi"])
        .code(2)
        .says(&["could not be fetched", "127.0.0.1:9"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:pass-word@{}/x.md?token=secret", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    });
    let done = place.run(&["run", "-B", &url, "hi"]).code(2).says(&["404"]);
    assert!(!done.stderr.contains("pass-word") && !done.stderr.contains("secret"), "{done:#?}");
    // A bundle that was fetched may lead nobody into the own network.
    let inner = Web::start("inner.md", bundle("inner").as_bytes());
    let outer = format!("---\nbundle: {{name: outer}}\nincludes: [{{bundle: '{}'}}]\n---\nx\n", inner.url);
    std::fs::write(place.project().join("outer.zip"), zip(&[("bundle.md", outer.as_bytes(), FILE)])).unwrap();
    let done = place.run(&["bundle", "validate", "./outer.zip", "--strict"]);
    assert_ne!(done.code, Some(0), "{done:#?}");
    assert_eq!(inner.asked(), 0, "{done:#?}");
}

#[test]
fn a_repository_is_fetched_again_when_it_has_moved() {
    let place = Place::new();
    let repository = place.project().join("../repository");
    std::fs::create_dir_all(&repository).unwrap();
    let git = |args: &[&str]| {
        let line = [
            &["git", "-C", repository.to_str().unwrap(), "-c", "user.name=t", "-c", "user.email=t@localhost"],
            args,
        ]
        .concat();
        place.call_program(&line).done().ok();
    };
    let commit = |answer: &str| {
        std::fs::write(repository.join("bundle.md"), bundle(answer)).unwrap();
        git(&["add", "."]);
        git(&["commit", "-q", "-m", answer]);
    };
    git(&["init", "-q", "-b", "main"]);
    commit("one");
    let url = format!("git+file://{}", std::fs::canonicalize(&repository).unwrap().display());
    place.run(&["bundle", "add", &url, "--name", "far"]).ok();
    let run = || place.run(&["run", "-B", "far", "hi"]).ok().stdout;
    assert_eq!(run(), "one\n");
    let update =
        |more: &[&str]| place.run(&[&["bundle", "update", "far", "--json"], more].concat()).ok().json();
    assert_eq!(update(&["--check"])[0]["result"], "unchanged");
    commit("two");
    assert_eq!(run(), "one\n");
    assert_eq!(update(&["--check"])[0]["result"], "can be updated");
    assert_eq!(update(&[])[0]["result"], "updated");
    assert_eq!(run(), "two\n");
    // What cannot be fetched any more is used as it was.
    std::fs::remove_dir_all(&repository).unwrap();
    place.run(&["bundle", "update", "far"]).code(1).says(&["what was fetched before is used"]);
    assert_eq!(run(), "two\n");
}
