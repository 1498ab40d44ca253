import Foundation
import TestSupport
import Testing

/// What is left of a job that is ended early: nothing.
@Suite(.serialized, .timeLimit(.minutes(2))) struct LeftoverTests {
  private static let gyre = BuiltProducts.executable("gyre")
  private static let attend = "attend --random 1x60000x4x4x64 --output o --trace t"

  /// Segments of the memory that ranks share which no process has mapped.
  private func deadSegments() throws -> Set<String> {
    let manager = FileManager.default
    let maps = try manager.contentsOfDirectory(atPath: "/proc").filter { Int($0) != nil }
      .map { manager.contents(atPath: "/proc/\($0)/maps") ?? Data() }
    return Set(
      try manager.contentsOfDirectory(atPath: "/dev/shm").filter { name in
        name.hasPrefix("vader_segment") && !maps.contains { $0.range(of: Data(name.utf8)) != nil }
      })
  }

  /// Runs a script in which `$0` is gyre and `$1` the package, and waits for its ranks to be gone.
  private func leftovers(of script: String) async throws -> [String] {
    let folder = try TemporaryFolder()
    let before = try deadSegments()
    let preamble = """
      cd "\(folder.path)"
      begun() { until compgen -G '.o.partial-*' >/dev/null; do sleep 0.05; done; sleep 0.3; }
      gone() { for _ in {1..400}; do compgen -G '.o.partial-*' >/dev/null || break; sleep 0.05; done; }
      mpi="mpirun --oversubscribe --bind-to none"
      if (($(id -u) == 0)); then mpi+=" --allow-run-as-root"; fi

      """
    let result = try await Command.run(
      "bash", arguments: ["-c", preamble + script, Self.gyre, Script.root.path],
      environment: ["GYRE_BINARY": Self.gyre], timeoutSeconds: 60)
    #expect(result.ending != .timedOut, "\(result)")
    // Jobs of others on this machine leave theirs for a moment when they end.
    var segments = try deadSegments().subtracting(before)
    for _ in 0..<20 where !segments.isEmpty {
      try await Task.sleep(for: .milliseconds(200))
      segments = try segments.intersection(deadSegments())
    }
    return folder.names + segments.sorted()
  }

  @Test(
    "a terminal's Ctrl-C, Ctrl-\\ and hangup leave nothing",
    .enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/python3")),
    arguments: ["^C", "^\\", "hangup"])
  func terminal(key: String) async throws {
    let left = try await leftovers(
      of: """
        "$1/Tests/Programs/in-a-terminal" '.o.partial-*' '\(key)' \
          "$1/Launch/local" -n 2 \(Self.attend) || exit
        gone
        """)
    #expect(left == [])
  }

  @Test("mpirun's death by SIGKILL leaves nothing")
  func killedLauncher() async throws {
    let left = try await leftovers(
      of: #"$mpi -n 3 "$0" \#(Self.attend) & begun; kill -KILL $!; gone"#)
    #expect(left == [])
  }

  @Test(
    "whatever signal ends rank 0 or another rank leaves nothing",
    arguments: ["TERM", "HUP", "INT", "QUIT", "USR1", "SEGV", "ABRT", "XCPU", "RTMIN"])
  func signals(signal: String) async throws {
    let left = try await leftovers(
      of: #""$0" \#(Self.attend) & begun; kill -\#(signal) $!; gone; kill -KILL $!"#)
    #expect(left == [])
  }

  @Test("a rank's death by SIGKILL leaves nothing")
  func killedRank() async throws {
    let left = try await leftovers(
      of: #"""
        $mpi -n 3 bash -c '[ $OMPI_COMM_WORLD_RANK = 2 ] && { sleep 3; kill -KILL $$; } & exec "$0" "$@"' \
          "$0" \#(Self.attend); gone
        """#)
    #expect(left == [])
  }

  @Test("what the death of all ranks leaves is removed by the next run, which says so")
  func killedJob() async throws {
    let folder = try TemporaryFolder()
    let result = try await Command.run(
      "bash",
      arguments: [
        "-c",
        #"""
        cd "$1"; "$0" \#(Self.attend) & until compgen -G '.o.partial-*'; do sleep 0.05; done
        kill -KILL $!; wait; compgen -G '.o.partial-*' >/dev/null || echo none
        "$0" attend --random 1x16x1x1x8 --output o >/dev/null
        """#, Self.gyre, folder.path,
      ], timeoutSeconds: 60)
    #expect(!result.standardOutput.contains("none"))
    #expect(result.standardError.contains("which a run that was killed had left"), "\(result)")
    #expect(folder.names == ["o"])
  }
}
