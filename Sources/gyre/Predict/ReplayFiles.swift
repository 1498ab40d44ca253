import FoundationEssentials
import ScalingModel

extension Replay {
  /// Writes what `smpirun -replay` needs into a folder: `platform.xml`, `hosts`, `traces`, which names
  /// the traces one by one, and those.
  func write(to folder: String) throws {
    let root = URL(filePath: folder)
    do {
      let manager = FileManager.default
      try manager.createDirectory(at: root, withIntermediateDirectories: true)
      try Data(platform.utf8).write(to: root.appending(path: "platform.xml"))
      try Data(hosts.map { $0 + "\n" }.joined().utf8).write(to: root.appending(path: "hosts"))
      var names = ""
      for (process, trace) in traces.enumerated() {
        let file = root.appending(path: "trace-\(process)")
        try Data(trace.utf8).write(to: file)
        names += file.path + "\n"
      }
      try Data(names.utf8).write(to: root.appending(path: "traces"))
    } catch {
      throw UserError("'\(folder)' cannot be written; name a folder that can.")
    }
  }
}
