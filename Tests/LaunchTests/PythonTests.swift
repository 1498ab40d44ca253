import Foundation
import TestSupport
import Testing

/// The Python that tests of the package run: `GYRE_PYTHON`, or the first that has NumPy.
private enum Python {
  static let executable: String = {
    let named = ProcessInfo.processInfo.environment["GYRE_PYTHON"].map { [$0] }
    let candidates = named ?? ["python3", "/usr/bin/python3"]
    return candidates.first { has("numpy", $0) } ?? candidates[0]
  }()

  /// Whether a module can be imported.
  static func has(_ module: String, _ python: String = executable) -> Bool {
    let command = "import importlib.util as u, sys; sys.exit(u.find_spec('\(module)') is None)"
    return (try? Script.run("/usr/bin/env", [python, "-c", command]))?.code == 0
  }

  static let hasNumPy = has("numpy")
  static let hasTorch = hasNumPy && has("torch")
  static let hasTransformers = hasTorch && has("transformers")
  static let hasMPI4Py = hasNumPy && has("mpi4py")

  /// libgyre, as the tests' build has made it.
  static let library = "\(BuiltProducts.directory)/libGyreC.so"

  /// Runs a script with the package as it stands in the sources.
  static func run(_ script: [String], ranks: Int) throws -> Outcome {
    try mpirun([executable] + script, ranks: ranks)
  }

  static func mpirun(_ command: [String], ranks: Int) throws -> Outcome {
    let environment = [
      "PYTHONPATH": Script.root.appending(path: "Python").path, "GYRE_LIBRARY": library,
      "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
      "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
      "OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_MCA_odls_base_sigkill_timeout": "0",
    ]
    return try Script.run(
      "/usr/bin/env",
      ["mpirun", "-n", "\(ranks)", "--oversubscribe", "--bind-to", "none"] + command,
      environment: environment)
  }
}

/// The package `gyre` of Python, as far as NumPy goes.
@Suite(
  .enabled(if: Python.hasNumPy, "the Python package needs NumPy (python3-numpy, or GYRE_PYTHON)"))
struct PythonTests {
  /// What NumPy alone can ask for: equal to the definition in double precision; what is refused is
  /// refused on all ranks; nothing is copied, nothing is kept.
  @Test(arguments: [1, 2, 3, 4, 5])
  func numPyAlone(ranks: Int) throws {
    let outcome = try Python.run(["Python/tests/check_numpy.py"], ranks: ranks)
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output == "numpy \(ranks): passed\n")
  }

  @Test func anExceptionOnOneRankEndsTheJobAndIsNamed() throws {
    let outcome = try Python.run(["Python/tests/end.py", "raise"], ranks: 3)
    #expect(outcome.code != 0)
    #expect(
      outcome.errors.contains(
        "MPI rank 2: Python's KeyError at end.py:14: 'tokenizer'; all ranks are ended"),
      "\(outcome.errors)")
  }

  @Test func whatAllRanksRaiseIsToldOnce() throws {
    let outcome = try Python.run(["Python/tests/end.py", "complain"], ranks: 3)
    #expect(outcome.code != 0)
    #expect(outcome.errors.components(separatedBy: "Traceback").count == 2, "\(outcome.errors)")
    #expect(outcome.errors.contains("Error: rank 2: the head dims of q and k differ"))
    #expect(!outcome.errors.contains("MPI_ABORT"), "the job ends in order")
  }

  /// The others hear of it where they next need the one that has left.
  @Test func nobodyWaitsForARankThatHasLeft() throws {
    let outcome = try Python.run(["Python/tests/end.py", "exit"], ranks: 3)
    #expect(outcome.code != 0)
    #expect(outcome.errors.contains("and rank 2 leaves the job"), "\(outcome.errors)")
  }

  @Test(
    .enabled(if: Python.hasMPI4Py, "needs mpi4py (GYRE_PYTHON)"), arguments: ["first", "later"])
  func besideMPI4Py(order: String) throws {
    let outcome = try Python.run(["Python/tests/check_mpi4py.py", order], ranks: 2)
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output == "mpi4py \(order) 2: passed\n")
  }

  @Test(.enabled(if: Python.hasTorch, "needs PyTorch (GYRE_PYTHON)"), arguments: [1, 2, 3, 4, 5])
  func withPyTorch(ranks: Int) throws {
    let outcome = try Python.run(["Python/tests/check_torch.py"], ranks: ranks)
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output == "torch \(ranks): passed\n")
  }

  /// Windows, soft caps, documents and padding of models that are not changed for it.
  @Test(.enabled(if: Python.hasTransformers, "needs Transformers and PyTorch (GYRE_PYTHON)"))
  func modelsOverRanksAreTheModels() throws {
    let outcome = try Python.run(["Python/tests/check_transformers.py"], ranks: 3)
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output == "transformers 3: passed\n")
  }

  @Test(.enabled(if: Python.hasTransformers, "needs Transformers and PyTorch (GYRE_PYTHON)"))
  func aModelLearnsTheSameOnAnyNumberOfRanks() throws {
    let curves = try [1, 2, 3].map { ranks in
      let outcome = try Python.run(["Examples/PythonTraining/train.py"], ranks: ranks)
      #expect(outcome.code == 0, "\(outcome.errors)")
      return outcome.output.split(separator: "\n").compactMap { line in
        line.hasPrefix("step ") ? line.split(separator: " ").last.flatMap { Double($0) } : nil
      }
    }
    #expect(curves[0].count == 50)
    #expect(curves[0].last ?? 9 < curves[0][0] / 2, "\(curves[0])")
    for curve in curves.dropFirst() {
      #expect(zip(curve, curves[0]).allSatisfy { abs($0 - $1) < 1e-4 }, "\(curve)")
    }
  }
}

/// The examples for C, compiled with the header and the library.
@Suite struct CProgramTests {
  @Test(arguments: [
    ("attention", "outputs 1.0, queries 1000.0"), ("mixing", "state 1000 tokens, 0 wrong"),
  ])
  func anExampleComputesOnAnyNumberOfRanks(name: String, found: String) throws {
    let folder = try TemporaryFolder()
    try FileManager.default.createSymbolicLink(
      atPath: "\(folder.path)/libgyre.so", withDestinationPath: Python.library)
    let program = "\(folder.path)/\(name)"
    let built = try Script.run(
      "/usr/bin/env",
      [
        "clang", "-Wall", "-Werror", "-I", "Sources/CGyre/include",
        "Examples/CProgram/\(name).c", "-L", folder.path, "-lgyre", "-lm",
        "-Wl,-rpath,\(folder.path)", "-o", program,
      ])
    #expect(built.code == 0, "\(built.errors)")
    for ranks in [1, 3] {
      let outcome = try Python.mpirun([program], ranks: ranks)
      #expect(outcome.code == 0, "\(outcome.errors)")
      #expect(outcome.output == "\(found)\n")
    }
  }
}
