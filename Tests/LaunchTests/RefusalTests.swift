import Foundation
import TestSupport
import Testing

/// What the scripts do with arguments that make no sense: one sentence that names the culprit, exit
/// code 64, and nothing started.
@Suite struct RefusalTests {
  /// Runs a script that would start nothing but this if it did not refuse.
  private func run(
    _ script: String, _ arguments: [String], environment: [String: String] = [:]
  ) throws -> Outcome {
    let folder = try TemporaryFolder()
    var harmless = try folder.shadowing("mpirun", with: "echo 'mpirun (Open MPI) was started'")
    harmless["GYRE_BINARY"] = "/bin/true"
    return try Script.run(
      script, arguments, environment: harmless.merging(environment) { $1 })
  }

  private func expectRefusal(
    of outcome: Outcome, naming culprit: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(outcome.code == 64, sourceLocation: sourceLocation)
    #expect(outcome.output == "", sourceLocation: sourceLocation)
    #expect(outcome.complaints.count == 1, "\(outcome.errors)", sourceLocation: sourceLocation)
    #expect(outcome.errors.contains(culprit), "\(outcome.errors)", sourceLocation: sourceLocation)
  }

  @Test(arguments: ["0", "-3", "2.5", "four", "10000", "08", "", "1 2", "99999999999999999999"])
  func aRankCountThatIsNone(ranks: String) throws {
    expectRefusal(of: try run("Launch/local", ["-n", ranks, "attend"]), naming: "-n")
    expectRefusal(of: try run("Launch/local", ["--dry-run", "-n", ranks, "attend"]), naming: "-n")
  }

  @Test(arguments: [[], ["-n"], ["-n", "2"], ["--dry-run"]])
  func somethingMissing(arguments: [String]) throws {
    expectRefusal(of: try run("Launch/local", arguments), naming: "-n")
  }

  @Test func anOptionThatIsNone() throws {
    expectRefusal(of: try run("Launch/local", ["--ranks", "2", "attend"]), naming: "'--ranks'")
    expectRefusal(of: try run("Launch/local", ["-n", "2", "--causal"]), naming: "'--causal'")
  }

  @Test(arguments: [
    ("Launch/local", ["-n", "2"]), ("Launch/local", ["-n", "2", "--dry-run"]),
    ("Launch/slurm.sbatch", ["--dry-run"]), ("Launch/pbs.sh", ["--dry-run"]),
    ("Launch/cluster", ["--hostfile", "HOSTS"]),
    ("Launch/emulated-cluster", ["run", "--dry-run", "--"]),
  ])
  func theProgramInThePlaceOfItsCommand(script: String, options: [String]) throws {
    let folder = try TemporaryFolder()
    let hosts = try folder.write("node1 slots=2\n", to: "hosts").path
    for program in ["gyre", ".build/release/gyre"] {
      expectRefusal(
        of: try run(
          script, options.map { $0 == "HOSTS" ? hosts : $0 } + [program, "attend"],
          environment: ["PBS_NODEFILE": hosts]),
        naming: "leave '\(program)' out")
    }
  }

  @Test(arguments: [
    ("Launch/local", ["-np", "2", "attend"], "-n P"), ("Launch/local", ["-n2", "attend"], "-n P"),
    ("Launch/cluster", ["--np", "2", "attend"], "-n P"),
    ("Launch/slurm.sbatch", ["-n", "2", "attend"], "sbatch"),
    ("Launch/pbs.sh", ["-np", "2", "attend"], "mpiprocs"),
    ("Launch/emulated-cluster", ["run", "-n", "2", "--", "attend"], "--ranks-per-host"),
  ])
  func ranksAsAnotherLauncherHasThem(script: String, arguments: [String], remedy: String) throws {
    expectRefusal(of: try run(script, arguments), naming: remedy)
  }

  @Test(arguments: ["0", "-1", "two"])
  func aCoreCountThatIsNone(cores: String) throws {
    expectRefusal(
      of: try run("Launch/local", ["-n", "2", "attend"], environment: ["GYRE_CORES": cores]),
      naming: "GYRE_CORES")
  }

  @Test(arguments: ["/proc/none", "/tmp", "/etc/passwd"])
  func aBinaryThatIsNone(path: String) throws {
    for (script, arguments) in [
      ("Launch/local", ["-n", "2", "attend"]), ("Launch/compare-peers", []),
    ] {
      expectRefusal(
        of: try run(script, arguments, environment: ["GYRE_BINARY": path]), naming: "'\(path)'")
    }
  }

  @Test(arguments: [["--ranks", "0"], ["--ranks=x"], ["--ranks"], ["--problem"]])
  func aDemoThatCannotBe(arguments: [String]) throws {
    expectRefusal(
      of: try run("Launch/demo", arguments), naming: arguments[0].prefix(7).description)
  }

  @Test(arguments: [
    ["--peers", "numpy"], ["--peers", "torch,torch"], ["--peers="], ["--peers"],
    ["--pass", "sideways"], ["--pass", "forward,forward"], ["--pass="],
    ["--head-dim", "0"], ["--head-dim", "64,,128"], ["--head-dim", "257"], ["--tokens", "1"],
    ["--tokens", "4k"], ["--heads", "0"], ["--threads", "0"], ["--threads", "1023"],
    ["--causal", "yes"], ["--repeats", "0"], ["--repeats=2.5"], ["--format", "xml"],
    ["--cache", "/etc/passwd"], ["--cache", ""], ["--seed", "1"], ["torch"],
    ["--threads", "1", "--peers", "ringattention,ring-attention-pytorch"],
    ["--variant", "star"], ["--variant", "window", "--peers", "torch"],
    ["--arithmetic", "f64"], ["--arithmetic", "bf16", "--peers", "ringattention"],
  ])
  func aComparisonThatCannotBe(arguments: [String]) throws {
    let option = arguments[0].prefix { $0 != "=" }
    // Before anything is installed: without Python it could not be.
    let folder = try TemporaryFolder()
    expectRefusal(
      of: try run(
        "Launch/compare-peers", arguments,
        environment: try folder.shadowing("python3", with: "echo python3 was started >&2; exit 1")),
      naming: String(option))
  }

  @Test(arguments: [
    ["--tokens", "63"], ["--pass", "sideways"], ["--repeats", "0"], ["--mixer"], ["--seed", "1"],
    ["--cache", "/etc/passwd"],
  ])
  func aComparisonOfMixersThatCannotBe(arguments: [String]) throws {
    expectRefusal(of: try run("Launch/compare-mixers", arguments), naming: arguments[0])
  }

  @Test(arguments: [
    ["--minutes", "0"], ["--minutes", "eight"], ["--minutes"], ["--output", "/nowhere/x"],
    ["--output="], ["--seed", "1"],
  ])
  func aMeasurementThatCannotBe(arguments: [String]) throws {
    expectRefusal(
      of: try run("Launch/measure-host", arguments),
      naming: String(arguments[0].prefix { $0 != "=" }))
  }

  /// Whoever lacks Swift or mpirun is told what to do before anything is built.
  @Test(arguments: [
    ("swift", "Launch/install", ["--prefix", "/tmp"]),
    ("mpirun", "Launch/local", ["-n", "1", "attend"]),
  ])
  func aToolThatIsNotWhatItShouldBe(tool: String, script: String, arguments: [String]) throws {
    let folder = try TemporaryFolder()
    let outcome = try Script.run(
      script, arguments,
      environment: try folder.shadowing(tool, with: "echo Swift version 5.10 by another vendor")
        .merging(["GYRE_BINARY": tool == "swift" ? "" : "/bin/true"]) { $1 })
    #expect(outcome.code == 1)
    #expect(outcome.output == "")
    let complaint = try #require(outcome.complaints.last)
    #expect(complaint.hasPrefix("\(script): "))
    #expect(complaint.contains(tool == "swift" ? "Swift 5.10 is too old" : "not Open MPI's"))
  }

  @Test(arguments: [
    "local", "demo", "test", "compare-peers", "compare-mixers", "emulated-cluster", "try-tiles",
    "try-splits",
    "cluster", "measure-host",
  ])
  func helpIsNoRefusal(script: String) throws {
    let outcome = try Script.run("Launch/\(script)", ["--help"])
    #expect(outcome.code == 0)
    #expect(outcome.errors == "")
    #expect(outcome.output.hasPrefix("Usage: Launch/\(script) "))
  }
}
