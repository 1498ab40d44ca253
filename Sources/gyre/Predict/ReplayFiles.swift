import FoundationEssentials
import Reporting
import ScalingModel
import Tensors

/// The folder for what `smpirun -replay` needs: `platform.xml`, `hosts`, `traces`, which names the
/// traces one by one, and those.
struct ReplayFolder {
  fileprivate let platform: OutputTarget
  fileprivate let hosts: OutputTarget
  fileprivate let names: OutputTarget
  fileprivate let traces: [OutputTarget]

  /// Makes the folder, and finds out that its files can be written.
  init(
    _ folder: String, processes: Int, in files: inout RunFiles, existing: OutputTarget.Existing
  ) throws {
    do {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw UserError("'\(folder)' cannot be made; name a folder that can.")
    }
    func target(_ name: String) throws -> OutputTarget {
      try files.write(folder + "/" + name, as: "--simgrid", existing: existing)
    }
    platform = try target("platform.xml")
    hosts = try target("hosts")
    names = try target("traces")
    traces = try (0..<processes).map { try target("trace-\($0)") }
  }
}

extension Replay {
  /// Writes all files.
  func write(to folder: ReplayFolder) throws {
    func write(_ text: String, _ target: OutputTarget) throws {
      try target.write(Array(text.utf8))
    }
    try write(platform, folder.platform)
    try write(hosts.map { $0 + "\n" }.joined(), folder.hosts)
    for (trace, target) in zip(traces, folder.traces) { try write(trace, target) }
    let paths = folder.traces.map { URL(filePath: $0.path).path + "\n" }
    try write(paths.joined(), folder.names)
  }
}
