import Foundation
import TestSupport
import Testing

/// `Launch/pbs.sh` with a node file that is made up.
@Suite(.timeLimit(.minutes(1))) struct PBSTests {
  private func run(
    nodes: String?, _ arguments: [String], environment: [String: String] = [:]
  ) throws -> (Outcome, nodeFile: String) {
    let folder = try TemporaryFolder()
    let file = try folder.write(nodes ?? "", to: "nodes").path
    var variables = ["GYRE_BINARY": "/bin/sh", "GYRE_CORES": "2"]
    if nodes != nil { variables["PBS_NODEFILE"] = file }
    return (
      try Script.run(
        "Launch/pbs.sh", arguments, environment: variables.merging(environment) { $1 }), file
    )
  }

  /// The printed line without the root user's option, the binary and the node file.
  private func line(
    nodes: String, _ command: [String], environment: [String: String] = [:]
  ) throws -> String {
    let (outcome, file) = try run(
      nodes: nodes, ["--dry-run"] + command, environment: environment)
    #expect(outcome.code == 0 && outcome.errors == "", "\(outcome.errors)")
    return outcome.output.replacing(" --allow-run-as-root", with: "").replacing(file, with: "nodes")
      .replacing(try FileManager.default.destination(of: "/bin/sh"), with: "gyre")
      .trimmingCharacters(in: .newlines)
  }

  @Test func everyLineIsARank() throws {
    #expect(
      try line(nodes: "a\na\nb\n", ["attend", "two words"])
        == "mpirun --map-by slot --bind-to numa:if-supported --hostfile nodes -n 3 gyre attend "
        + #"two\ words"#)
  }

  /// A part of a host is left to PBS, and too many threads share what there is.
  @Test func ranksAreBoundWhereTheyFillTheHost() throws {
    let part = ["NCPUS": "1", "GYRE_CORES": "\(ProcessInfo.processInfo.processorCount)"]
    #expect(
      try line(nodes: "a\nb\n", ["attend"], environment: part)
        == "mpirun --bind-to none --hostfile nodes -n 2 gyre attend --threads 1")
    #expect(
      try line(nodes: "a\nb\n", ["compare"], environment: part).hasSuffix(" gyre compare"))
    #expect(
      try line(nodes: "a\nb\n", ["attend", "--threads", "1"]).hasPrefix(
        "mpirun --bind-to none --hostfile"))
    #expect(
      try line(nodes: "a\nb\n", ["attend", "--threads", "2"]).hasPrefix(
        "mpirun --map-by slot:PE=2 "))
    #expect(
      try line(nodes: "a\na\n", ["attend", "--threads", "2"])
        .hasPrefix("mpirun --bind-to none --mca mpi_yield_when_idle 1 "))
  }

  /// qsub passes variables and no arguments: their words are a shell's, and nothing in them is run.
  @Test func theCommandMayComeInAVariable() throws {
    let line = try line(
      nodes: "a\n", [], environment: ["GYRE_COMMAND": #"attend "two words" --seed='1' $(id)"#])
    #expect(line.hasSuffix(#"gyre attend two\ words --seed=1 \$\(id\)"#), "\(line)")
  }

  @Test func daemonsStayWithinTheJob() throws {
    let folder = try TemporaryFolder()
    let line = try line(
      nodes: "a\n", ["attend"], environment: try folder.shadowing("pbs_tmrsh", with: "exit 1"))
    #expect(line.hasPrefix("mpirun --mca plm_rsh_agent pbs_tmrsh "))
  }

  /// The whole way with ranks of this machine, in the folder that the job comes from.
  @Test func aJobRunsWhereItWasSubmitted() throws {
    let folder = try TemporaryFolder()
    let gyre = try folder.write("#!/bin/sh\npwd\nexit 3\n", to: "gyre", executable: true)
    let (outcome, _) = try run(
      nodes: "localhost\n", ["attend"],
      environment: [
        "GYRE_BINARY": gyre.path, "PBS_O_WORKDIR": folder.path,
        "OMPI_MCA_odls_base_sigkill_timeout": "1",
      ])
    #expect(outcome.code == 3)
    #expect(outcome.output == "\(folder.path)\n")
  }

  /// What PBS does to a job at its time limit.
  @Test func aJobThatIsToldToStopSaysTryAgain() throws {
    let folder = try TemporaryFolder()
    let gyre = try folder.write(
      "#!/bin/bash\ntrap 'touch \"$0.ended\"; exit 1' TERM\ntouch \"$0.started\"\nwhile :; do sleep 0.1; done\n",
      to: "gyre", executable: true)
    try folder.write("localhost\n", to: "nodes")
    let outcome = try Script.run(
      "/bin/bash",
      [
        "-c",
        """
        Launch/pbs.sh attend & job=$!
        until [ -e "$GYRE_BINARY.started" ]; do sleep 0.05; done
        kill -s TERM $job
        wait $job
        """,
      ],
      environment: [
        "GYRE_BINARY": gyre.path, "PBS_NODEFILE": "\(folder.path)/nodes",
        "OMPI_MCA_odls_base_sigkill_timeout": "1",
      ])
    #expect(outcome.code == 75, "\(outcome.errors)")
    #expect(folder.names.contains("gyre.ended"))
  }

  @Test(
    arguments: [
      (nil, ["--dry-run", "attend"], [:], "PBS_NODEFILE"),
      ("\n", ["--dry-run", "attend"], [:], "no hosts"), ("a\n", ["--dry-run"], [:], "say what"),
      ("a\n", ["--colour"], [:], "'--colour'"),
      ("a\n", ["--dry-run"], ["GYRE_COMMAND": "attend 'a"], "GYRE_COMMAND"),
      ("a\n", ["--dry-run", "attend"], ["GYRE_HOME": "/nowhere"], "'/nowhere'"),
    ] as [(String?, [String], [String: String], String)])
  func whatCannotBeIsRefused(
    nodes: String?, arguments: [String], environment: [String: String], culprit: String
  ) throws {
    let (outcome, _) = try run(nodes: nodes, arguments, environment: environment)
    #expect(outcome.code == 64)
    #expect(outcome.output == "")
    #expect(outcome.complaints.count == 1)
    #expect(outcome.errors.contains(culprit), "\(outcome.errors)")
  }
}
