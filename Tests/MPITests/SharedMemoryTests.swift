import Foundation
import TestSupport
import Testing

/// Shared memory at the limits of the machine.
@Suite("Shared memory")
struct SharedMemoryTests {
  @Test("A part of more than 2 GiB", .enabled(if: hasRoom(6 << 30)), arguments: [1, 2])
  func large(_ ranks: Int) async throws {
    let result = try await MPIJob.run(
      program: "mpi-checks", arguments: ["large-window"], ranks: ranks)
    #expect(result.isSuccess, "\(result)")
  }

  @Test(
    "What does not fit into the folder of windows is an error of all ranks, and no signal",
    .enabled { try await SmallFolder.isPossible() }, arguments: [2, 3, 8])
  func fullFolder(_ ranks: Int) async throws {
    let result = try await SmallFolder.run("full-folder", ranks: ranks)
    #expect(result.isSuccess, "\(result)")
  }

  /// Whether this machine can share so many bytes without running short itself.
  private static func hasRoom(_ bytes: UInt64) -> Bool {
    let facts = try? FileManager.default.attributesOfFileSystem(forPath: "/dev/shm")
    let free = (facts?[.systemFreeSize] as? NSNumber)?.uint64Value ?? 0
    return free > bytes && ProcessInfo.processInfo.physicalMemory > 2 * bytes
  }
}
