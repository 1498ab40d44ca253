import Foundation
import TestSupport
import Testing

/// Jobs that `Launch/local` really starts.
///
/// A shell script stands in for gyre: what is tested is the way there and back.
@Suite(.timeLimit(.minutes(1))) struct LocalJobTests {
  /// Runs `script` as gyre on a number of ranks.
  private func job(
    ranks: Int, _ script: String, arguments: [String] = ["attend"],
    environment: [String: String] = [:]
  ) throws -> Outcome {
    let folder = try TemporaryFolder()
    let gyre = try folder.write("#!/bin/sh\n\(script)\n", to: "gyre", executable: true)
    return try Script.run(
      "Launch/local", ["-n", "\(ranks)"] + arguments,
      environment: environment.merging(["GYRE_BINARY": gyre.path]) { $1 })
  }

  @Test(arguments: [1, 2, 3, 4, 5, 7, 8])
  func everyRankRunsOnceWithTheArguments(ranks: Int) throws {
    let outcome = try job(
      ranks: ranks, #"echo "$OMPI_COMM_WORLD_RANK/$OMPI_COMM_WORLD_SIZE $# $2""#,
      arguments: ["attend", "two words"])
    #expect(outcome.code == 0)
    let lines = outcome.output.split(separator: "\n").sorted()
    #expect(lines == (0..<ranks).map { "\($0)/\(ranks) 2 two words" })
  }

  @Test func threadsWithoutCoresForThemStillRun() throws {
    let cores = ProcessInfo.processInfo.activeProcessorCount
    let outcome = try job(
      ranks: 2, "echo here", arguments: ["attend", "--threads", "\(cores)"])
    #expect(outcome.code == 0)
    #expect(outcome.output == "here\nhere\n")
  }

  @Test(arguments: [1, 66, 255])
  func theExitCodeIsTheJobs(code: Int32) throws {
    let outcome = try job(
      ranks: 2, "[ $OMPI_COMM_WORLD_RANK = 0 ] || { echo no q >&2; exit \(code); }")
    #expect(outcome.code == code)
    // The job's own sentence, and at most one of mpirun's.
    #expect(outcome.complaints.contains("no q"))
    #expect(outcome.complaints.count <= 2, "\(outcome.errors)")
  }

  /// mpirun names the rank, but now and then says nothing at all.
  @Test func aKilledRankDoesNotGoUnsaid() throws {
    let outcome = try job(ranks: 2, "[ $OMPI_COMM_WORLD_RANK = 0 ] || kill -KILL $$")
    #expect(outcome.code == 128 + 9)
    #expect(outcome.errors.contains("killed by SIGKILL"), "\(outcome.errors)")
  }

  /// A tiny stack, a host name that is too long: mpirun dies before there is a rank.
  @Test func mpirunsDeathIsNoRanks() throws {
    let folder = try TemporaryFolder()
    var environment = try folder.shadowing(
      "mpirun", with: #"[ "$1" = --version ] && echo Open MPI || kill -SEGV $$"#)
    environment["GYRE_BINARY"] = "/bin/true"
    let outcome = try Script.local("-n", "2", "attend", environment: environment)
    #expect(outcome.code == 128 + 11)
    #expect(outcome.complaints.count == 1, "\(outcome.errors)")
    #expect(outcome.errors.contains("mpirun itself was killed by SIGSEGV"))
  }

  /// A batch system's hosts and slots are not for local ranks.
  @Test(arguments: [
    [
      "SLURM_JOBID": "1", "SLURM_JOB_ID": "1", "SLURM_NODELIST": "nowhere[1-3]",
      "SLURM_JOB_NODELIST": "nowhere[1-3]", "SLURM_NNODES": "3", "SLURM_TASKS_PER_NODE": "1(x3)",
    ],
    ["PE_HOSTFILE": "HOSTS", "SGE_ROOT": "/tmp", "ARC": "x", "JOB_ID": "1"],
    ["OMPI_MCA_orte_default_hostfile": "HOSTS"],
  ])
  func otherHostsAreLeftAlone(batch: [String: String]) throws {
    let folder = try TemporaryFolder()
    let hosts = try folder.write("nowhere1 1 all.q <NULL>\nnowhere2 1 all.q <NULL>\n", to: "hosts")
    let outcome = try job(
      ranks: 3, "echo $OMPI_COMM_WORLD_SIZE",
      environment: batch.mapValues { $0 == "HOSTS" ? hosts.path : $0 })
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output == "3\n3\n3\n")
  }

  /// With 256, Open MPI would wait for the last of 64 ranks without end.
  @Test(arguments: [("-S", 0), ("", 1)])
  func fewOpenFilesAreRaisedOrRefused(limit: String, code: Int32) throws {
    let folder = try TemporaryFolder()
    var environment = try folder.shadowing(
      "mpirun", with: #"[ "$1" = --version ] && echo Open MPI || ulimit -S -n"#)
    environment["GYRE_BINARY"] = "/bin/true"
    let outcome = try Script.run(
      "/bin/bash", ["-c", "ulimit \(limit) -n 256; Launch/local -n 64 attend"],
      environment: environment)
    #expect(outcome.code == code, "\(outcome.errors)")
    #expect(outcome.output == (code == 0 ? "320\n" : ""))
    if code != 0 { #expect(outcome.errors.contains("needs 320 open files"), "\(outcome.errors)") }
  }

  /// The ranks' errors pass the filter as they are, dashes and all.
  @Test func errorsPassUnchanged() throws {
    let rule = String(repeating: "-", count: 74)
    let lines = ["one", rule, "MPI is mentioned", rule, rule, "", rule]
    let outcome = try job(
      ranks: 1, "printf '%s\\n' \(lines.map { "'\($0)'" }.joined(separator: " ")) >&2")
    #expect(outcome.code == 0)
    #expect(outcome.errors == lines.joined(separator: "\n") + "\n")
  }

  /// mpirun's messages as Open MPI 4.1 prints them, by the filter alone.
  @Test func mpirunsMessagesBecomeOneLineEach() throws {
    let rule = String(repeating: "-", count: 74)
    let folder = try TemporaryFolder()
    let messages = try folder.write(
      """
      gyre: no such file
      [node1:02351] plm:rsh: Warning: setpgid(2390,2390) failed in parent with errno=Permission denied(13)
      \(rule)
      Primary job  terminated normally, but 1 process returned
      a non-zero exit code. Per user-direction, the job has been aborted.
      \(rule)
      \(rule)
      mpirun detected that one or more processes exited with non-zero status, thus causing
      the job to be terminated. The first process to do so was:

        Process name: [[32710,1],11]
        Exit code:    65
      \(rule)
      \(rule)
      MPI_ABORT was invoked on rank 2 in communicator MPI_COMM_WORLD
      with errorcode -7.

      NOTE: invoking MPI_ABORT causes Open MPI to kill all MPI processes.
      You may or may not see output from other processes, depending on
      exactly when Open MPI kills them.
      \(rule)
      \(rule)
      ORTE has lost communication with a remote daemon.

        HNP daemon   : [[32562,0],0] on node node1
        Remote daemon: [[32562,0],1] on node node2

      This is usually due to either a failure of the TCP network
      connection to the node, or possibly an internal failure of
      the daemon itself. We cannot recover from this failure, and
      therefore will terminate the job.
      \(rule)
      gyre: the end

      """, to: "messages")
    let outcome = try Script.run(
      "/bin/sed", ["--file=Launch/lib/mpirun-messages.sed", messages.path])
    #expect(
      outcome.output == """
        gyre: no such file
        mpirun: rank 11 was the first to fail, with exit code 65.
        mpirun: rank 2 aborted the job, with code -7.
        mpirun: nothing is heard of host node2 any more; its network, the host or its mpirun daemon has failed, and the job has been ended.
        gyre: the end

        """)
  }

  @Test func theLastErrorIsOutBeforeTheScriptEnds() throws {
    let folder = try TemporaryFolder()
    let gyre = try folder.write("#!/bin/sh\necho late >&2\n", to: "gyre", executable: true)
    var environment = try folder.shadowing("sed", with: #"sleep 0.3; exec /bin/sed "$@""#)
    environment["GYRE_BINARY"] = gyre.path
    let outcome = try Script.run(
      "/bin/bash", ["-c", "Launch/local -n 1 attend; echo end >&2"], environment: environment)
    #expect(outcome.errors == "late\nend\n")
  }

  @Test func rankZeroReadsStandardInput() throws {
    let folder = try TemporaryFolder()
    let gyre = try folder.write("#!/bin/sh\ncat\n", to: "gyre", executable: true)
    let outcome = try Script.run(
      "/bin/bash", ["-c", "echo words | Launch/local -n 2 attend"],
      environment: ["GYRE_BINARY": gyre.path])
    #expect(outcome.code == 0)
    #expect(outcome.output == "words\n")
  }

  /// A closed standard input would make mpirun take one of its own pipes for it, and hang.
  @Test func mpirunGetsStandardInputEvenIfItIsClosed() throws {
    let folder = try TemporaryFolder()
    var environment = try folder.shadowing(
      "mpirun", with: #"[ "$1" = --version ] && echo Open MPI || readlink /proc/$$/fd/0"#)
    environment["GYRE_BINARY"] = "/bin/true"
    let outcome = try Script.run(
      "/bin/bash", ["-c", "Launch/local -n 2 attend <&-"], environment: environment)
    #expect(outcome.code == 0)
    #expect(outcome.output == "/dev/null\n")
  }

  /// Whoever stops the script stops the job, and no rank is left over.
  @Test(arguments: ["TERM", "INT", "HUP"])
  func aSignalEndsTheRanks(signal: String) throws {
    let folder = try TemporaryFolder()
    let gyre = try folder.write(
      """
      #!/bin/sh
      echo $$ > "\(folder.path)/pid"
      exec sleep 40
      """, to: "gyre", executable: true)
    let outcome = try Script.run(
      "/bin/bash",
      [
        "-c",
        """
        set -m
        Launch/local -n 1 attend & script=$!
        until [ -s "$1/pid" ]; do sleep 0.05; done
        kill -s \(signal) $script
        wait $script; code=$?
        state() { sed -n 's/^State:.//p' "/proc/$(cat "$1/pid")/status" 2>/dev/null; }
        for ((i = 0; i < 100; i++)); do
          case $(state "$1") in '' | Z*) exit $code ;; esac
          sleep 0.05
        done
        echo left over: $(state "$1")
        exit $code
        """, "bash", folder.path,
      ], environment: ["GYRE_BINARY": gyre.path])
    #expect(outcome.code != 0)
    #expect(outcome.output == "")
  }

  @Test func aDryRunRunsNothing() throws {
    let folder = try TemporaryFolder()
    let trace = folder.url.appending(path: "trace")
    let gyre = try folder.write(
      "#!/bin/sh\ntouch '\(trace.path)'\n", to: "gyre", executable: true)
    var environment = try folder.shadowing("mpirun", with: "touch '\(trace.path)'")
    environment["GYRE_BINARY"] = gyre.path
    let outcome = try Script.local("-n", "2", "--dry-run", "attend", environment: environment)
    #expect(outcome.code == 0)
    #expect(outcome.output.contains(gyre.path))
    #expect(!FileManager.default.fileExists(atPath: trace.path))
  }

  /// The demo asks for a checked causal job and ends as it ends.
  @Test(arguments: [0, 3])
  func theDemoEndsAsItsCheckDoes(code: Int32) throws {
    let folder = try TemporaryFolder()
    let gyre = try folder.write(
      "#!/bin/sh\necho \"$*\"\nexit \(code)\n", to: "gyre", executable: true)
    let outcome = try Script.run(
      "Launch/demo", ["--ranks", "1", "--problem", "1x64x2x1x8", "--layout", "striped"],
      environment: ["GYRE_BINARY": gyre.path])
    #expect(outcome.code == code)
    #expect(
      outcome.output
        == "attend --random 1x64x2x1x8 --causal --verify --report text --layout striped\n")
    #expect(outcome.errors.contains("1x64x2x1x8"))
    // What to try next, if this has worked.
    #expect(outcome.errors.contains("Launch/install") == (code == 0), "\(outcome.errors)")
  }

  /// A model reads first where there is one; where there is none the demo says so and goes on.
  @Test(arguments: [true, false])
  func theDemoReadsATextIfItCan(hasModel: Bool) throws {
    let folder = try TemporaryFolder()
    let gyre = try folder.write("#!/bin/sh\necho \"$1\"\n", to: "gyre", executable: true)
    let name = "smollm2-135m-instruct-q4_1.gguf"
    let model = try folder.write("no model", to: name)
    if hasModel {
      // As Launch/model marks a file whose sum it knows.
      let sum = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
      let date = try FileManager.default.attributesOfItem(atPath: model.path)[.modificationDate]
      let time = Int((date as? Date)?.timeIntervalSince1970 ?? 0)
      _ = try folder.write("\(sum) 8 \(time)\n", to: ".\(name).checked")
    }
    let outcome = try Script.run(
      "Launch/demo", ["--ranks", "1"],
      environment: ["GYRE_BINARY": gyre.path, "GYRE_MODELS": folder.path])
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output == (hasModel ? "generate\nattend\n" : "attend\n"))
    #expect(outcome.errors.contains("no text is read") == !hasModel, "\(outcome.errors)")
    #expect(outcome.errors.contains("Where may one obtain") == hasModel)
  }
}
