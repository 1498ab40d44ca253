import ArgumentParser

/// The options of `gyre attend` that show its plan.
struct ExplainOptions: ParsableArguments {
  @Flag(
    help: """
      Plan and stop: print which ranks see which keys, the work and the traffic of each, and why \
      so. Files are opened and checked, but nothing is computed or written, so that it can be \
      added to any command line.
      """)
  var explain = false

  @Option(
    name: .customLong("explain-svg"),
    help: ArgumentHelp(
      """
      Draw the mask, queries by keys, with what each rank holds and what it needs from others. \
      Without --explain attention is computed too.
      """, valueName: "file"),
    completion: .file(extensions: ["svg"]))
  var picture: String?

  func validate() throws {
    if let picture, !picture.lowercased().hasSuffix(".svg") {
      throw ValidationError(
        "--explain-svg is '\(picture)', and what is written is a picture in SVG; give it a name "
          + "that ends in .svg.")
    }
  }
}
