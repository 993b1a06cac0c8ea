//! `[sync]`.

use supervisor_core::sync::outbox::OnDelete;
use supervisor_core::sync::{Field, Ignored};

use super::mistakes::mistakes;
use super::*;

const DOCS: &str = "[[sync.dirs]]\npath = 'docs'\ntable = 'docs'\n";

#[track_caller]
fn sync(text: &str) -> SyncSettings {
    good(text).sync.expect("something is mirrored")
}

fn names(sync: &SyncSettings, table: &str) -> Vec<String> {
    let table = sync.routes.table(table).expect("a table");
    let columns = table.columns().iter();
    columns
        .map(|column| format!("{}={}", column.name, column.field))
        .collect()
}

#[test]
fn nothing_is_mirrored_unless_a_directory_is_named() {
    assert!(good("").sync.is_none());
    assert_eq!(
        mistakes("[sync]\ndebounce = '5s'\n"),
        ["1:2 [sync] names no directory: nothing would be mirrored"]
    );
}

#[test]
fn a_directory_alone_has_all_the_defaults() {
    let sync = sync(DOCS);
    assert_eq!(sync.target, Target::Sqlite);
    assert_eq!(sync.debounce, seconds(5));
    assert_eq!(sync.max_wait, seconds(60));
    assert_eq!(sync.on_delete, OnDelete::Keep);
    assert_eq!(sync.max_file_size, 10_000_000);
    assert_eq!(sync.routes.root(), Path::new("/etc/x"));
    let route = sync.routes.route(Path::new("/etc/x/docs/a/B.MD")).unwrap();
    assert_eq!(
        (route.table.name(), route.file_path),
        ("docs", "docs/a/B.MD")
    );
    assert_eq!(route.table.key(), "file_path");
    assert_eq!(
        sync.routes.route(Path::new("/etc/x/docs/a.txt")),
        Err(Ignored::Extension)
    );
}

#[test]
fn extensions_root_and_patterns_are_taken() {
    let sync = sync(&format!(
        "[sync]\nroot = '..'\nextensions = ['.txt', 'MD']\nexclude = ['drafts']\n\
         on_delete = 'tombstone'\ndebounce = '0s'\n{DOCS}"
    ));
    let goes = |path: &str| {
        let route = sync.routes.route(Path::new(path));
        route.map(|route| route.file_path.to_owned())
    };
    assert_eq!(goes("/etc/x/docs/a.md"), Ok("x/docs/a.md".to_owned()));
    assert_eq!(goes("/etc/x/docs/a.TXT"), Ok("x/docs/a.TXT".to_owned()));
    assert_eq!(goes("/etc/x/docs/drafts/a.md"), Err(Ignored::Excluded));
    assert_eq!(sync.debounce, Duration::ZERO);
    let table = sync.routes.table("docs").unwrap();
    assert_eq!(table.tombstone_column(), Some("deleted_at"));
}

#[test]
fn a_table_may_have_columns_of_its_own() {
    let sync = sync(&format!(
        "{DOCS}[sync.tables.docs]\ncolumns = {{ path = 'file_path', text = 'content', who = 'metadata.author' }}\n"
    ));
    assert_eq!(
        names(&sync, "docs"),
        ["path=file_path", "text=content", "who=metadata.author"]
    );
    assert_eq!(sync.routes.table("docs").unwrap().key(), "path");
}

#[test]
fn athenas_tables_are_known_by_name() {
    let text = "[sync]\npreset = 'athena'\n[[sync.dirs]]\npath = 'p'\ntable = 'protocols'\n\
                [[sync.dirs]]\npath = 'u'\ntable = 'user_profile'\n\
                [sync.tables.user_profile]\nkey = 'file_path'\n";
    let sync = sync(text);
    assert!(names(&sync, "protocols").contains(&"code=code".to_owned()));
    assert_eq!(
        sync.routes.table("user_profile").unwrap().key(),
        "file_path"
    );
    let has_field = |field| {
        sync.routes
            .table("user_profile")
            .unwrap()
            .column_of(&field)
            .is_some()
    };
    assert!(has_field(Field::FileName));
}

#[test]
fn supabase_is_named_by_variables_that_must_be_set() {
    let Target::Supabase {
        url,
        key,
        allow_http,
    } = sync(&format!("[sync]\ntarget = 'supabase'\n{DOCS}")).target
    else {
        panic!("another target");
    };
    assert!(!allow_http);
    assert_eq!(url, ["SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL"]);
    assert_eq!(key, ["SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_KEY"]);
    let text = format!("[sync]\ntarget = 'supabase'\nurl_env = 'MY_URL'\n{DOCS}");
    assert_eq!(
        mistakes(&text),
        ["3:11 `sync.url_env` names MY_URL, which the environment does not have"]
    );
    let env = |name: &str| (name == "MY_URL").then(|| "https://x.supabase.co".to_owned());
    assert!(parse(Path::new("/etc/x/supervisor.toml"), &text, &env).is_ok());
}

#[test]
fn f82_mistakes_are_said_with_their_place() {
    for (text, expected) in [
        ("[sync]\ndirs = []\n", "2:8 `sync.dirs` is empty"),
        (
            "[sync]\ndirs = ['docs']\n",
            "2:9 `sync.dirs` must be a table",
        ),
        (
            "[[sync.dirs]]\npath = 'docs'\n",
            "1:1 a directory of [[sync.dirs]] has no `table`",
        ),
        (
            "[[sync.dirs]]\ntable = 'docs'\n",
            "1:1 a directory of [[sync.dirs]] has no `path`",
        ),
        (
            "[[sync.dirs]]\npath = 'docs'\ntable = 'my docs'\n",
            "3:9 `sync.dirs.table` is no name for a table or column: \"my docs\"",
        ),
        (
            "[[sync.dirs]]\npath = 'docs'\ntabel = 'docs'\ntable = 'docs'\n",
            "3:1 unknown key `tabel` in [sync.dirs]",
        ),
        (
            "[[sync.dirs]]\npath = '../docs'\ntable = 'docs'\n",
            "2:8 /etc/docs does not lie in the root /etc/x",
        ),
        (&format!("{DOCS}{DOCS}"), "5:8 /etc/x/docs is given twice"),
        (
            &format!("[sync]\nexclude = ['a', 'b[']\n{DOCS}"),
            "2:17 \"b[\" is no pattern: unclosed character class; missing ']'",
        ),
        (
            &format!("[sync]\nextensions = ['*.md']\n{DOCS}"),
            "2:15 `sync.extensions` holds \"*.md\", which is no extension",
        ),
        (
            &format!("[sync]\ndebounce = '5s'\nmax_wait = '1s'\n{DOCS}"),
            "3:12 `sync.max_wait` is shorter than `sync.debounce`",
        ),
        (
            &format!("[sync]\non_delete = 'drop'\n{DOCS}"),
            "2:13 `sync.on_delete` cannot be \"drop\"",
        ),
        (
            &format!("{DOCS}[sync.tables.dosc]\nkey = 'file_path'\n"),
            "4:14 no directory goes into the table \"dosc\"",
        ),
        (
            &format!("{DOCS}[sync.tables.docs]\nkey = 'id'\n"),
            "5:7 docs cannot be: the key \"id\" is none of the columns",
        ),
        (
            &format!("{DOCS}[sync.tables.docs]\nkey = 'title'\n"),
            "5:7 docs cannot be: the key \"title\" holds the title, which does not tell documents apart",
        ),
        (
            &format!("{DOCS}[sync.tables.docs]\ncolumns = {{ a = 'contents' }}\n"),
            "5:17 `sync.tables.docs.columns.a` holds no field: \"contents\"",
        ),
        (
            &format!("{DOCS}[sync.tables.docs]\ncolumns = {{}}\n"),
            "5:11 `sync.tables.docs.columns` is empty",
        ),
        (
            &format!(
                "[sync]\non_delete = 'tombstone'\n{DOCS}[sync.tables.docs]\ncolumns = {{ file_path = 'file_path' }}\n"
            ),
            "7:11 docs has no column for tombstones",
        ),
        (
            &format!("{DOCS}[sync.tables.'a b']\nkey = 'file_path'\n"),
            "4:14 \"a b\" is no name for a table",
        ),
    ] {
        assert_eq!(mistakes(text), [expected], "{text}");
    }
}

#[test]
fn a_key_in_the_file_is_refused_and_not_shown() {
    let text = format!("[sync]\nkey = 'eyJhbGciOi'\n{DOCS}");
    let shown = read(&text).unwrap_err().render(false, 100);
    assert!(shown.contains("`key` in [sync] is a secret"), "{shown}");
    assert!(!shown.contains("eyJ"), "{shown}");
}
