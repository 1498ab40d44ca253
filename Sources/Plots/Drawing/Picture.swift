import FoundationEssentials
import Reporting
package import Tensors

/// A file that a figure is drawn into.
package struct Picture {
  private let path: String
  private let fileName: String
  private let format: PictureFormat

  /// - Parameter path: ends in .svg, .png or .pdf.
  package init(_ path: String) throws {
    let name = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    guard let format = PictureFormat(fileName: path), !name.isEmpty else {
      throw UserError.usage(
        "--output is \(path); give a file name that ends in .svg, .png or .pdf.")
    }
    guard !path.contains(where: \.isNewline) else {
      throw UserError.usage("--output has an end of line in it; give another name.")
    }
    self.path = path
    self.format = format
    fileName = String(name)
  }

  /// Finds gnuplot and the places of what will be written, before anything is computed.
  ///
  /// - Parameters:
  ///   - keep: whether data and script stay beside the picture.
  ///   - target: names a file that will be written.
  package func prepared(
    keep: Bool, target: (_ path: String) throws -> OutputTarget
  ) throws -> PreparedPicture {
    let gnuplot = try Gnuplot()
    let stem = String(fileName.dropLast(format.rawValue.count + 1))
    let names = [fileName] + (keep ? [stem + ".csv", stem + ".gp"] : [])
    let folder = path.dropLast(fileName.count)
    return PreparedPicture(
      gnuplot: gnuplot, format: format, stem: stem,
      targets: try names.map { ($0, try target(folder + $0)) })
  }
}

/// A picture whose files can be written.
package struct PreparedPicture {
  fileprivate let gnuplot: Gnuplot
  fileprivate let format: PictureFormat
  /// The name of the picture without its ending.
  fileprivate let stem: String
  fileprivate let targets: [(name: String, target: OutputTarget)]

  /// Draws in a folder of its own, so that a failure leaves nothing behind.
  package func draw(_ script: GnuplotScript) throws {
    let manager = FileManager.default
    let folder = manager.temporaryDirectory.path + "/gyre-plot-" + UUID().uuidString
    try manager.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? manager.removeItem(atPath: folder) }
    let (data, program) = (stem + ".csv", stem + ".gp")
    let source = script.script(format, output: targets[0].name, data: data)
    try Data(script.data.utf8).write(to: URL(filePath: folder + "/" + data))
    try Data(source.utf8).write(to: URL(filePath: folder + "/" + program))
    try gnuplot.run(program, in: folder)
    for (name, target) in targets {
      guard let bytes = manager.contents(atPath: folder + "/" + name), !bytes.isEmpty else {
        throw UserError("gnuplot has written no \(name); use version 5.4 or newer")
      }
      try target.write(Array(bytes))
    }
  }
}
