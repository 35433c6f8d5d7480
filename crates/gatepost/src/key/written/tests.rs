use super::*;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
const NEW: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// With the hashes in the place of short names for them.
fn long(text: &str) -> String {
    text.replace("«A»", &format!("\"{A}\""))
        .replace("«B»", &format!("\"{B}\""))
        .replace("«C»", &format!("'{C}'"))
        .replace("«NEW»", &format!("\"{NEW}\""))
}

#[track_caller]
fn added(before: &str, comment: Option<&str>, after: &str) {
    let text = long(before);
    let changed = Written::find(&text, "acme").unwrap().with(read_hash(NEW).unwrap(), comment).unwrap();
    assert_eq!(changed, long(after));
    // Windows.
    let text = text.replace('\n', "\r\n");
    let changed = Written::find(&text, "acme").unwrap().with(read_hash(NEW).unwrap(), comment).unwrap();
    assert_eq!(changed, long(after).replace('\n', "\r\n"));
}

#[track_caller]
fn removed(before: &str, hash: &str, after: &str) {
    let text = long(before);
    let changed = Written::find(&text, "acme").unwrap().without(read_hash(hash).unwrap()).unwrap();
    assert_eq!(changed, long(after));
    let text = text.replace('\n', "\r\n");
    let changed = Written::find(&text, "acme").unwrap().without(read_hash(hash).unwrap()).unwrap();
    assert_eq!(changed, long(after).replace('\n', "\r\n"));
}

#[test]
fn a_key_joins_the_others_as_they_are_written() {
    for (before, after) in [
        ("[caller.acme]\nkeys = [«A»] # one\n", "[caller.acme]\nkeys = [«A», «NEW»] # one\n"),
        ("[caller.acme]\nkeys = [ «A», ]", "[caller.acme]\nkeys = [ «A», «NEW», ]"),
        ("[caller.acme]\nkeys=[«A»,«C»]\nplan='p'\n", "[caller.acme]\nkeys=[«A»,«C», «NEW»]\nplan='p'\n"),
        (
            "[caller.acme]\nkeys = [\n\t«A», # Jane\n\t«C», # Bob\n\n\t# that is all\n]\nplan = 'p' # x\n",
            "[caller.acme]\nkeys = [\n\t«A», # Jane\n\t«C», # Bob\n\t«NEW»,\n\n\t# that is all\n]\nplan = 'p' # x\n",
        ),
        (
            "[caller.acme]\nkeys = [\n  «A»,\n  «C» # Bob\n]\n",
            "[caller.acme]\nkeys = [\n  «A»,\n  «C», # Bob\n  «NEW»\n]\n",
        ),
        ("[caller.acme]\nkeys = [\n  «A»,\n  «C»]\n", "[caller.acme]\nkeys = [\n  «A»,\n  «C»,\n  «NEW»]\n"),
        (
            "[caller.acme]\nkeys = [\n    «A»\n  , «C»\n  ]\n",
            "[caller.acme]\nkeys = [\n    «A»\n  , «C»,\n      «NEW»\n  ]\n",
        ),
        ("caller.acme = { keys = [«A»], plan = 'p' }\n", "caller.acme = { keys = [«A», «NEW»], plan = 'p' }\n"),
        ("caller.acme.keys = [«A»]\ncaller.b.plan='p'", "caller.acme.keys = [«A», «NEW»]\ncaller.b.plan='p'"),
        ("\u{feff}[caller.acme]\nkeys = [«A»]\n", "\u{feff}[caller.acme]\nkeys = [«A», «NEW»]\n"),
    ] {
        added(before, None, after);
    }
}

#[test]
fn a_comment_ends_the_line_of_its_key() {
    for (before, after) in [
        ("[caller.acme]\nkeys = [«A»] # one\n", "[caller.acme]\nkeys = [«A»,\n    «NEW» # Jane\n] # one\n"),
        ("[caller.acme]\nkeys = [\n    «A»,\n]\n", "[caller.acme]\nkeys = [\n    «A»,\n    «NEW», # Jane\n]\n"),
        ("[caller.acme]\nkeys = [\n    «A»]\n", "[caller.acme]\nkeys = [\n    «A»,\n    «NEW» # Jane\n    ]\n"),
        ("[caller.acme]\n", "[caller.acme]\nkeys = [\n    «NEW», # Jane\n]\n"),
        ("caller.acme = { plan = 'p' }\n", "caller.acme = { plan = 'p', keys = [«NEW», # Jane\n] }\n"),
    ] {
        added(before, Some("Jane"), after);
    }
}

#[test]
fn the_first_key_goes_into_the_table_however_that_is_written() {
    for (before, after) in [
        (
            "# all\n[caller.acme] # ours\n# plans\nplan = 'p' # p\n\n# next\n[caller.b]\nplan = 'q'\n",
            "# all\n[caller.acme] # ours\n# plans\nplan = 'p' # p\nkeys = [\n    «NEW»,\n]\n\n# next\n[caller.b]\nplan = 'q'\n",
        ),
        ("  [caller.acme]\n  plan = 'p'", "  [caller.acme]\n  plan = 'p'\n  keys = [\n      «NEW»,\n  ]"),
        ("[caller.'acme'] # ours\n[caller.b]\n", "[caller.'acme'] # ours\nkeys = [\n    «NEW»,\n]\n[caller.b]\n"),
        (
            "[caller.acme]\nplan = 'p'\n[caller.acme.signed]\ngithub = 'env:A'\n",
            "[caller.acme]\nplan = 'p'\nkeys = [\n    «NEW»,\n]\n[caller.acme.signed]\ngithub = 'env:A'\n",
        ),
        (
            "[caller.acme]\njwt.issuer = 'x'\njwt.audience = [\n 'y',\n] # z\n",
            "[caller.acme]\njwt.issuer = 'x'\njwt.audience = [\n 'y',\n] # z\nkeys = [\n    «NEW»,\n]\n",
        ),
        (
            "[caller]\nacme.plan = 'p'\nb.plan = 'q'\n",
            "[caller]\nacme.plan = 'p'\nacme.keys = [\n    «NEW»,\n]\nb.plan = 'q'\n",
        ),
        ("[caller]\nacme = { plan = 'p' }\n", "[caller]\nacme = { plan = 'p', keys = [«NEW»] }\n"),
        ("[caller]\nacme = {}\n", "[caller]\nacme = {keys = [«NEW»]}\n"),
        (
            "[caller.acme.signed]\ngithub = 'env:A'\n",
            "[caller.acme.signed]\ngithub = 'env:A'\n\n[caller.acme]\nkeys = [\n    «NEW»,\n]\n",
        ),
        (
            "[[caller.acme.sigv4]]\naccess_key = 'A'\n[x]\n",
            "[[caller.acme.sigv4]]\naccess_key = 'A'\n[x]\n\n[caller.acme]\nkeys = [\n    «NEW»,\n]\n",
        ),
    ] {
        added(before, None, after);
    }
}

#[test]
fn a_key_goes_with_its_comment_and_nothing_else() {
    for (before, after) in [
        ("[caller.acme]\nkeys = [«A», «B»] # two\n", "[caller.acme]\nkeys = [«A»] # two\n"),
        ("[caller.acme]\nkeys = [«B», «A»]\n", "[caller.acme]\nkeys = [«A»]\n"),
        ("[caller.acme]\nkeys = [«A», «B», «C»]\n", "[caller.acme]\nkeys = [«A», «C»]\n"),
        (
            "[caller.acme]\nkeys = [\n    «A», # Jane\n    «B», # Bob\n    # the rest\n    «C»,\n]\n",
            "[caller.acme]\nkeys = [\n    «A», # Jane\n    # the rest\n    «C»,\n]\n",
        ),
        ("[caller.acme]\nkeys = [\n  «A»,\n  «B» # Bob\n]\n", "[caller.acme]\nkeys = [\n  «A»,\n]\n"),
        ("[caller.acme]\nkeys = [\n  «A»,\n  «B»]\n", "[caller.acme]\nkeys = [\n  «A»,\n  ]\n"),
        ("[caller.acme]\nkeys = [«B», # Bob\n    «A» # Jane\n]\n", "[caller.acme]\nkeys = [\n    «A» # Jane\n]\n"),
        ("[caller.acme]\nkeys = [\n «A», «B», # both\n]\n", "[caller.acme]\nkeys = [\n «A», # both\n]\n"),
        ("[caller.acme]\nkeys = [\n «A»\n , «B»\n]\n", "[caller.acme]\nkeys = [\n «A»\n , \n]\n"),
        ("[caller.acme]\nkeys = [\n «B»\n , «A»\n]\n", "[caller.acme]\nkeys = [\n  «A»\n]\n"),
    ] {
        removed(before, B, after);
    }
}

#[test]
fn the_last_key_takes_its_list_with_it() {
    for (before, after) in [
        ("[caller.acme]\n# keys\nkeys = [«B»] # one\nplan = 'p'\n", "[caller.acme]\n# keys\nplan = 'p'\n"),
        ("[caller.acme]\nplan = 'p'\nkeys = [\n    «B», # Bob\n]", "[caller.acme]\nplan = 'p'\n"),
        ("caller.acme = { keys = [«B»], plan = 'p' }\n", "caller.acme = { plan = 'p' }\n"),
        ("caller.acme = { plan = 'p', keys = [«B»] }\n", "caller.acme = { plan = 'p' }\n"),
    ] {
        removed(before, B, after);
    }
}

#[test]
fn comments_of_the_list_outlive_the_last_key() {
    for (before, after) in [
        (
            "[caller.acme]\nkeys = [ # ours\n    # the first\n    «B», # Bob\n    # and that is all\n] # here\nplan = 'p'\n",
            "[caller.acme]\n# ours\n    # the first\n    # and that is all\n# here\nplan = 'p'\n",
        ),
        ("[caller.acme]\nplan = 'p'\nkeys = [\n  # one\n  «B»\n]", "[caller.acme]\nplan = 'p'\n  # one\n"),
    ] {
        removed(before, B, after);
    }
    let inline = long("caller.acme = { plan = 'p', keys = [\n  # one\n  «B»\n] }\n");
    let unsafely = Written::find(&inline, "acme").unwrap().without(read_hash(B).unwrap());
    assert_eq!(unsafely, Err(CannotChange::Unsafe));
}

#[test]
fn a_key_takes_the_place_of_another() {
    let text = long("[caller.acme]\nkeys = [«B»]\n");
    let (old, new) = (read_hash(B).unwrap(), read_hash(NEW).unwrap());
    let changed = Written::find(&text, "acme").unwrap().replaced(old, new, "nobody").unwrap();
    assert_eq!(changed, long("[caller.acme]\nkeys = [\n    «NEW» # nobody\n]\n"));
}

#[test]
fn what_cannot_be_understood_is_left_alone() {
    let find = |text: &str| Written::find(&long(text), "acme").map(|_| ()).unwrap_err();
    for text in [
        "",
        "[caller.other]\nkeys = [«A»]\n",
        "[caller.acme]\nkeys = 'all'\n",
        "[caller.acme]\nkeys = ['sha256:12']\n",
        "[caller.acme\n",
        "caller = 1\n",
    ] {
        assert_eq!(find(text), CannotChange::NotFound, "{text}");
    }
}

#[test]
fn comments_are_told_by_key() {
    let comments = |text: &str| {
        let found = comments(&long(text));
        let of = |hash: &str| found.get(&read_hash(hash).unwrap()).cloned().unwrap_or_default();
        [A, B, C].map(of)
    };
    assert_eq!(comments("[caller.acme]\nkeys = [«A»]  #  only one \n"), ["only one", "", ""]);
    assert_eq!(comments("[caller.acme]\nkeys = [«A», «B»] # which?\n"), [""; 3]);
    let many =
        "[caller.acme]\r\nkeys = [ # ours\r\n  «A», # Jane's # laptop\r\n  # not Bob's\r\n  «B»,#\r\n  «C» #ü\r\n]\r\n";
    assert_eq!(comments(many), ["Jane's # laptop", "", "ü"]);
    assert_eq!(comments("[caller.acme]\nplan = 'p'\n[caller.b]\nkeys = [«C» ] #x\n"), ["", "", "x"]);
}

#[test]
fn a_hash_is_read_in_any_case_and_in_no_other_form() {
    assert_eq!(read_hash(NEW), read_hash(&format!("sha256:{}", NEW[7..].to_uppercase())));
    assert_eq!(read_hash(NEW).unwrap().to_string(), NEW);
    for wrong in ["", "sha256:", &NEW[7..], &NEW[..70], &format!("{NEW}0"), &NEW.replace('f', "g")] {
        assert_eq!(read_hash(wrong), None, "{wrong}");
    }
}
