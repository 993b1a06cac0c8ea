//! Services for tests: shell scripts that pulse, hang, crash and misbehave.

/// Read by scripts with `. ./lib.sh`: how a service pulses with what its environment says,
/// without starting a program for it (bash opens the connection itself).
pub const LIBRARY: &str = r#"
# A supervisor that is killed while we write must not kill us.
trap '' PIPE

# call METHOD PATH [BODY]: prints the status.
call() {
    local host=${SUPERVISOR_URL#http://} status=
    host=${host%/}
    {
        printf '%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' \
            "$1" "$2" "$host" "$SUPERVISOR_TOKEN" "${#3}" "$3" >&3 && read -r -t 3 _ status _ <&3
    } 2>/dev/null 3<>"/dev/tcp/${host%:*}/${host##*:}"
    echo "${status:-000}"
}

pulse() { call POST "/api/pulse/$SUPERVISOR_SERVICE" "${1:-}"; }
report_error() { call POST "/api/error/$SUPERVISOR_SERVICE" "{\"message\":\"$1\"}"; }

# alone: notes in the file `doubled` if another life of this service, or a part of one, is
# still there: the lock is inherited by everything that this one starts.
alone() {
    exec 9>>"$SUPERVISOR_SERVICE.lock"
    flock -n 9 || echo "$SUPERVISOR_SERVICE $$" >>doubled
    echo "$$" >>"$SUPERVISOR_SERVICE.pids"
}

# pulse_every SECONDS: for ever.
pulse_every() {
    while :; do
        pulse >/dev/null 2>&1
        sleep "$1"
    done
}
"#;

/// The configuration's `command` of a bash script that may use the library.
pub fn bash(script: &str) -> String {
    command(&["bash", "-c", &format!(". ./lib.sh\n{script}")])
}

/// The configuration's `command` of a POSIX shell script.
pub fn sh(script: &str) -> String {
    command(&["sh", "-c", script])
}

/// The configuration's `command` with these words.
pub fn command(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("command = [{}]\n", words.join(", "))
}

/// A TOML string.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
