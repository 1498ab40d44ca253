import ArgumentParser
import FoundationEssentials

/// A file that a figure is drawn into.
struct Picture {
  private let path: String
  private let fileName: String
  private let format: PictureFormat

  /// - Parameter path: ends in .svg, .png or .pdf.
  init(_ path: String) throws {
    let name = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    guard let format = PictureFormat(fileName: path), !name.isEmpty else {
      throw ValidationError(
        "--output is \(path); give a file name that ends in .svg, .png or .pdf.")
    }
    guard !path.contains(where: \.isNewline) else {
      throw ValidationError("--output has an end of line in it; give another name.")
    }
    self.path = path
    self.format = format
    fileName = String(name)
  }

  /// Draws in a folder of its own, so that a failure leaves nothing behind.
  ///
  /// - Parameter keep: whether data and script stay beside the picture.
  func draw(_ script: GnuplotScript, keep: Bool) throws {
    let gnuplot = try Gnuplot()
    let manager = FileManager.default
    let folder = manager.temporaryDirectory.path + "/gyre-plot-" + UUID().uuidString
    try manager.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? manager.removeItem(atPath: folder) }
    let stem = String(fileName.dropLast(format.rawValue.count + 1))
    let (data, program) = (stem + ".csv", stem + ".gp")
    let source = script.script(format, output: fileName, data: data)
    try Data(script.data.utf8).write(to: URL(filePath: folder + "/" + data))
    try Data(source.utf8).write(to: URL(filePath: folder + "/" + program))
    try gnuplot.run(program, in: folder)
    let target = path.dropLast(fileName.count)
    for name in [fileName] + (keep ? [data, program] : []) {
      guard let bytes = manager.contents(atPath: folder + "/" + name), !bytes.isEmpty else {
        throw UserError("gnuplot has written no \(name); use version 5.4 or newer")
      }
      do {
        try bytes.write(to: URL(filePath: target + name), options: .atomic)
      } catch {
        throw UserError("\(target)\(name) cannot be written; name a folder that you may write to")
      }
    }
  }
}
