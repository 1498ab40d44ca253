import Foundation
import TestSupport
import Testing

/// What `Launch/cluster` decides and finds out before it starts anything, with a stand-in for ssh.
@Suite(.timeLimit(.minutes(1))) struct ClusterLineTests {
  /// Runs the script with a hostfile, where mpirun only leaves a trace.
  private func run(
    hosts: String, _ arguments: [String], ssh: String = "echo ssh was started >&2; exit 255",
    environment: [String: String] = [:]
  ) throws -> (Outcome, started: Bool) {
    let folder = try TemporaryFolder()
    let trace = folder.path + "/trace"
    var variables = try folder.shadowing(
      "mpirun",
      with: "[ \"$1\" = --version ] && echo 'mpirun (Open MPI) 4.1.4' || echo \"$*\" >'\(trace)'")
    try folder.write("#!/bin/sh\n\(ssh)\n", to: "ssh", executable: true)
    let file = try folder.write(hosts, to: "hosts")
    variables["GYRE_BINARY"] = "/bin/sh"
    let outcome = try Script.run(
      "Launch/cluster", ["--hostfile", file.path] + arguments,
      environment: variables.merging(environment) { $1 })
    return (outcome, FileManager.default.fileExists(atPath: trace))
  }

  /// The printed line without what is the same in each.
  private func line(
    hosts: String, _ arguments: [String], environment: [String: String] = [:]
  ) throws -> String {
    let (outcome, started) = try run(
      hosts: hosts, ["--dry-run"] + arguments, environment: environment)
    #expect(outcome.code == 0 && outcome.errors == "" && !started, "\(outcome.errors)")
    let start =
      "mpirun\(getuid() == 0 ? " --allow-run-as-root" : "") --mca plm rsh "
      + "--mca plm_rsh_no_tree_spawn 1 "
    #expect(outcome.output.hasPrefix(start), "\(outcome.output)")
    return outcome.output.dropFirst(start.count)
      .replacing(try FileManager.default.destination(of: "/bin/sh"), with: "gyre")
      .trimmingCharacters(in: .newlines)
  }

  private let hosts = "# ours\nnode1 slots=2 # old\n\n10.0.0.7 slots=4 max_slots=4"

  /// As many ranks as the hosts say that they have nodes of memory, whatever their slots.
  @Test func everyNodeOfMemoryIsARank() throws {
    let ssh = """
      shift 4
      echo welcome
      case $1 in a) echo gyre: nodes 2 ;; b) echo gyre: nodes 1 ;; *) exit 255 ;; esac
      """
    let (outcome, started) = try run(
      hosts: "a\nb slots=8\nc\n", ["--dry-run", "attend"], ssh: ssh)
    #expect(!started)
    #expect(
      outcome.output.contains(
        #" --map-by slot --bind-to numa:if-supported --host a:2\,b:1\,c:1 -n 4 "#),
      "\(outcome.output)")
    #expect(outcome.complaints.count == 1 && outcome.errors.contains(" c does not say"))
  }

  @Test func aHostHasRoomForAsManyRanksAsSlots() throws {
    #expect(
      try line(hosts: hosts, ["-n", "6", "attend", "two words"])
        == "--map-by slot --bind-to numa:if-supported "
        + #"--host node1:2\,10.0.0.7:4 -n 6 gyre attend two\ words"#)
    #expect(
      try line(hosts: hosts, ["-n", "3", "attend", "--threads=4"])
        == #"--map-by slot:PE=4 --host node1:2\,10.0.0.7:4 -n 3 gyre attend --threads=4"#)
    #expect(
      try line(hosts: "a\nb\n", ["--ranks-per-host=3", "--no-bind", "attend"])
        == #"--bind-to none --mca mpi_yield_when_idle 1 --host a:3\,b:3 -n 6 gyre attend"#)
  }

  /// What editors of other systems leave in a file, and users.
  @Test func aFileFromElsewhereIsRead() throws {
    #expect(
      try line(
        hosts: "\u{FEFF}a slots=1\r\nb slots=2\r\n\r\n", ["-n", "3", "attend", "--threads", "1"])
        == #"--map-by slot:PE=1 --host a:1\,b:2 -n 3 gyre attend --threads 1"#)
    #expect(
      try line(hosts: "me@a slots=1\nme@b slots=1\n", ["-n", "2", "attend", "--threads", "1"])
        == #"--mca plm_rsh_agent ssh\ -l\ me --map-by slot:PE=1 --host a:1\,b:1 -n 2 "#
        + "gyre attend --threads 1")
  }

  @Test func theNetworkTheWayInAndVariablesGoToMpirun() throws {
    let line = try line(
      hosts: "a slots=1", ["--interface", "10.0.0.0/24", "-n", "1", "attend", "--threads=1"],
      environment: ["GYRE_SSH": "ssh -p 2222", "GYRE_COLOUR": "red", "GYRE_CORES": "2"])
    #expect(
      line == #"--mca plm_rsh_agent ssh\ -p\ 2222 --mca btl_tcp_if_include 10.0.0.0/24 "#
        + "--mca oob_tcp_if_include 10.0.0.0/24 -x GYRE_COLOUR --map-by slot:PE=1 --host a:1 "
        + "-n 1 gyre attend --threads=1")
  }

  @Test(arguments: [
    ("", ["attend"], "names no host"), ("# a\n", ["attend"], "names no host"),
    ("a slots=0", ["attend"], "'slots=0'"), ("a slots = 2", ["attend"], "'slots'"),
    ("a slots=2 colour=red", ["attend"], "'colour=red'"),
    ("a slots=2\n-b slots=1", ["attend"], "line 2"), ("a slots=1\na slots=1", ["attend"], "line 2"),
    ("a\u{A0}slots=2", ["attend"], #"$'a\302\240slots=2'"#),
    ("\u{200B}a slots=2", ["attend"], #"$'\342\200\213a'"#),
    ("a sl\u{200B}ots=2", ["attend"], #"$'sl\342\200\213ots=2'"#),
    ("a_b slots=2", ["attend"], "underscore"), ("fe80::1 slots=2", ["attend"], "IPv6"),
    ("me@a slots=1\nyou@b slots=1", ["attend"], "different users"),
    ("me@a slots=1\nb slots=1", ["attend"], "different users"),
    ("a", ["-n", "1", "attend"], "slots=N"), ("a slots=2", ["-n", "3", "attend"], "-n 3"),
    ("a slots=2", ["-n", "0", "attend"], "-n"),
    ("a slots=2", ["--ranks-per-host", "x", "attend"], "'x'"),
    ("a slots=2", ["--interface", "eth0;", "attend"], "'eth0;'"),
    ("a slots=2", ["--colour", "attend"], "'--colour'"), ("a slots=2", [], "what to run"),
    ("a slots=2", ["-n"], "-n needs"),
    ("a slots=2", ["--hostfile", "/nowhere", "attend"], "'/nowhere'"),
  ])
  func whatCannotBeIsRefused(hosts: String, arguments: [String], culprit: String) throws {
    let (outcome, started) = try run(hosts: hosts, arguments)
    #expect(outcome.code == 64)
    #expect(outcome.output == "")
    #expect(outcome.complaints.count == 1)
    #expect(outcome.errors.contains(culprit), "\(outcome.errors)")
    #expect(!started)
  }

  /// Each host that cannot do its part is named, with what is wrong there.
  @Test func hostsAreAskedBeforeAnythingStarts() throws {
    let (outcome, started) = try run(
      hosts: ["good", "locked", "bare", "old", "elsewhere", "other", "small", "shut"]
        .map { "\($0) slots=2\n" }.joined(),
      ["-n", "16", "attend"],
      ssh: """
        shift 4
        echo welcome to $1
        ask() { sh -s | sed "$1"; }
        case $1 in
          good) ask 's/cores .*/cores 2/' ;;
          locked) printf 'Permission denied (publickey).\\r\\n' >&2; exit 255 ;;
          bare) ask 's/orted .*/orted/' ;;
          old) ask 's/MPI) 4.1.4/MPI) 4.0.3/' ;;
          elsewhere) ask '/binary/d' ;;
          other) ask 's/binary ./binary x/' ;;
          small) ask 's/cores .*/cores 1/' ;;
          shut) ask 's/files .*/files 64/' ;;
        esac
        """)
    #expect(outcome.code == 1)
    #expect(!started)
    let expected = [
      ("locked", "without a password"), ("bare", "PATH"), ("old", "4.0.3"),
      ("elsewhere", "no executable"), ("other", "another build"), ("small", "--no-bind"),
      ("shut", "64 files"),
    ]
    #expect(outcome.complaints.count == expected.count, "\(outcome.errors)")
    for (complaint, (host, reason)) in zip(outcome.complaints, expected) {
      #expect(complaint.hasPrefix("Launch/cluster: \(host) ") && complaint.contains(reason))
    }
    #expect(outcome.errors.contains("(Permission denied (publickey))"))
  }

  /// What `small` lacks does not matter to ranks that are not bound.
  @Test func hostsThatHaveAllStart() throws {
    let (outcome, started) = try run(
      hosts: "a slots=2\nb slots=2\n", ["--no-bind", "attend"],
      ssh: "sh -s | sed 's/cores .*/cores 1/'")
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.errors == "")
    #expect(started)
  }
}
