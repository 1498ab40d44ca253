import Foundation
import TestSupport
import Testing

/// What `Launch/emulated-cluster` decides before it makes anything: no rights are needed for these.
@Suite struct EmulatedClusterLineTests {
  /// Runs the script where nothing that it could start does anything, under a name nobody uses.
  private func cluster(
    _ arguments: [String], environment: [String: String] = [:]
  ) throws -> Outcome {
    let folder = try TemporaryFolder()
    var harmless = try folder.shadowing("ip", with: "echo 'ip was started'; exit 1")
    harmless["GYRE_BINARY"] = "/bin/true"
    return try Script.run(
      "Launch/emulated-cluster", arguments, environment: harmless.merging(environment) { $1 })
  }

  @Test(arguments: [(1, 1), (2, 1), (2, 3), (4, 2)])
  func theLineStartsAllRanksFromTheFirstHost(hosts: Int, ranksPerHost: Int) throws {
    let outcome = try cluster([
      "run", "--dry-run", "--name", "line", "--hosts", "\(hosts)",
      "--ranks-per-host=\(ranksPerHost)", "--", "attend", "two words",
    ])
    #expect(outcome.code == 0)
    #expect(outcome.errors == "")
    let agent = Script.root.appending(path: "Launch/lib/emulated-host").path
    let root = getuid() == 0 ? " --allow-run-as-root" : ""
    let slots = (1...hosts).map { "node\($0):\(ranksPerHost)" }.joined(separator: "\\,")
    #expect(
      outcome.output == """
        \(agent) line node1 -- mpirun\(root) --mca plm rsh --mca plm_rsh_no_tree_spawn 1 \
        --mca plm_rsh_agent \(agent)\\ line --mca oob_tcp_if_include eth0 --mca pml ob1 \
        --mca btl tcp\\,vader\\,self --mca btl_tcp_if_include eth0 --bind-to none \
        --mca mpi_yield_when_idle 1 --host \(slots) --map-by slot -n \(hosts * ranksPerHost) \
        \(try FileManager.default.destination(of: "/bin/true")) attend two\\ words

        """)
  }

  @Test func anotherProgramTakesGyresPlace() throws {
    let outcome = try cluster(["run", "--dry-run", "--program", "/bin/echo", "--", "-n", "words"])
    #expect(outcome.output.hasSuffix("/echo -n words\n"))
  }

  @Test(arguments: [
    (["up", "--hosts", "0"], "--hosts"), (["up", "--hosts", "255"], "--hosts"),
    (["up", "--hosts=two"], "--hosts"), (["up", "--hosts"], "--hosts"),
    (["up", "--rate", "1000"], "--rate"), (["up", "--rate", "0gbit"], "--rate"),
    (["up", "--rate", "fast"], "--rate"), (["up", "--rate", "1.2.3gbit"], "--rate"),
    (["up", "--name", "Two words"], "--name"), (["up", "--name", "gyre-1"], "--name"),
    (["up", "--name", "../x"], "--name"), (["up", "--name="], "--name"),
    (["up", "--ranks-per-host", "2"], "'--ranks-per-host'"),
    (["status", "--hosts", "2"], "'--hosts'"),
    (["down", "now"], "'now'"), (["run"], "--"), (["run", "--"], "after --"),
    (["run", "attend"], "run -- attend"), (["run", "--ranks-per-host", "0", "--", "x"], "--ranks"),
    (["run", "--map-by", "core", "--", "x"], "--map-by takes slot or node"),
    (["run", "--program", "/proc/none", "--"], "'/proc/none'"),
    (["run", "--counters", "/proc/none/file", "--", "attend"], "'/proc/none/file'"),
    (["run", "--causal", "--", "attend"], "'--causal'"), ([], "up, run, status or down"),
    (["start"], "'start'"),
  ])
  func whatMakesNoSenseIsRefused(arguments: [String], culprit: String) throws {
    let outcome = try cluster(arguments)
    #expect(outcome.code == 64)
    #expect(outcome.output == "")
    #expect(outcome.complaints.count == 1, "\(outcome.errors)")
    #expect(outcome.errors.contains(culprit), "\(outcome.errors)")
  }

  /// Whoever may not make namespaces is told what to do, and nothing is tried.
  @Test(arguments: [("id", "echo 1000", "sudo"), ("unshare", "exit 1", "--privileged")])
  func missingRightsAreSaid(tool: String, answer: String, remedy: String) throws {
    for arguments in [["up"], ["run", "--", "attend"]] {
      let folder = try TemporaryFolder()
      var environment = try folder.shadowing("ip", with: "echo 'ip was started'; exit 1")
      _ = try folder.shadowing("tc", with: "exit 1")
      _ = try folder.shadowing("id", with: "echo 0")
      _ = try folder.shadowing(tool, with: answer)
      environment["GYRE_BINARY"] = "/bin/true"
      let outcome = try cluster(arguments, environment: environment)
      #expect(outcome.code == 1)
      #expect(outcome.output == "")
      #expect(outcome.complaints.count == 1, "\(outcome.errors)")
      #expect(outcome.errors.contains(remedy), "\(outcome.errors)")
    }
  }

  @Test func nothingUpIsNothingToRemove() throws {
    let status = try cluster(["status", "--name", "nobody"])
    #expect(status.code == 0)
    #expect(status.output == "No emulated cluster nobody is up.\n")
    let down = try cluster(["down", "--name", "nobody"])
    #expect(down.code == 0)
    #expect(down.output + down.errors == "")
  }
}

extension FileManager {
  /// The path of a file with all symbolic links followed.
  func destination(of path: String) throws -> String {
    URL(filePath: path).resolvingSymlinksInPath().path
  }
}
