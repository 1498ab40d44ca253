// swift-tools-version: 6.3
import PackageDescription

let base: [SwiftSetting] =
  [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
  ]
  + (Context.environment["CI"] == nil ? [] : [.treatAllWarnings(as: .error)])

/// Settings of a target that is compiled for an instruction set.
///
/// Without a target flag x86-64 Swift has no fused multiply–add, and the kernels would run about
/// a hundred times slower. On arm64 the baseline already has NEON and FMA.
func compiled(for march: String, _ others: [SwiftSetting] = []) -> [SwiftSetting] {
  #if arch(x86_64)
    base + [.unsafeFlags(["-Xcc", "-march=\(march)"])] + others
  #else
    base
  #endif
}

/// What all but kernels are compiled for: nothing less than it runs the program.
let settings = compiled(for: "x86-64-v3")

/// What kernels with vectors of 512 bits have in common.
///
/// Where rows are packed the compiler would store by scattering, which is slower than storing.
let avx512: [SwiftSetting] = [.unsafeFlags(["-Xcc", "-mno-scatter"]), .define("GYRE_AVX512")]

/// The same, and products of bf16 pairs and of bytes.
let avx512bf16: [SwiftSetting] =
  avx512
  + [.unsafeFlags(["-Xcc", "-mavx512bf16", "-Xcc", "-mavx512vnni"]), .define("GYRE_BF16")]

/// Products in tile registers, or in a model of them.
let amx: [SwiftSetting] = [.define("GYRE_AMX")]

/// What other packages can use: all as the product `Gyre`, or each by itself.
///
/// Open MPI is needed only with `MPI`, `SequenceParallel` and `LongNet`.
let modules = [
  "Tensors", "Sharding", "Compute", "AttentionTypes", "KernelSets", "Attention",
  "AttentionReference", "MPI", "SequenceParallel", "LongNet", "Models", "Mixers",
]

let package = Package(
  name: "gyre",
  products: [
    .executable(name: "gyre", targets: ["gyre"]),
    .library(name: "Gyre", targets: modules),
    // libgyre, for C and Python, with Swift's runtime in it.
    .library(name: "GyreC", type: .dynamic, targets: ["CInterface"]),
  ] + modules.map { .library(name: $0, targets: [$0]) },
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
  ],
  targets: [
    // The command.
    .executableTarget(
      name: "gyre",
      dependencies: [
        "Benchmarks", "Plots", "Doctor", "Settings", "Results", "Jobs", "Hosts", "Reporting",
        "MPI", "Sharding", "Tensors", "Attention", "AttentionReference", "SequenceParallel",
        "LongNet", "Models", "Mixers", "ScalingModel", "BuildStamp",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: settings),

    // What its verbs need, testable without it.
    .target(
      name: "Benchmarks",
      dependencies: [
        "Results", "Jobs", "Hosts", "Reporting", "MPI", "Sharding", "Tensors", "Attention",
        "KernelSets", "Compute", "SequenceParallel", "LongNet", "Models", "Mixers", "BuildStamp",
      ],
      swiftSettings: settings),
    .target(
      name: "Plots", dependencies: ["Results", "Reporting", "Tensors"], swiftSettings: settings),
    .target(
      name: "Doctor",
      dependencies: ["Jobs", "Hosts", "Reporting", "MPI", "Attention", "BuildStamp"],
      swiftSettings: settings),
    .target(
      name: "Settings",
      dependencies: [
        "Reporting", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: settings),
    .target(name: "Results", dependencies: ["Reporting"], swiftSettings: settings),
    .target(name: "Jobs", dependencies: ["Hosts", "Reporting", "MPI"], swiftSettings: settings),
    .target(name: "Hosts", dependencies: ["Reporting"], swiftSettings: settings),
    .target(name: "Reporting", swiftSettings: settings),

    // The commit that is built, in a module of its own, so that another compiles nothing else.
    .target(name: "BuildStamp", swiftSettings: settings, plugins: ["StampCommit"]),
    .plugin(name: "StampCommit", capability: .buildTool(), path: "Sources/StampCommit"),

    // The library for C: functions of gyre.h, and what they are made of.
    .target(
      name: "CInterface",
      dependencies: [
        "CGyre", "Jobs", "Hosts", "Reporting", "LongNet", "Mixers", "SequenceParallel", "MPI",
        "Sharding", "Attention", "Tensors", "BuildStamp",
      ],
      swiftSettings: settings,
      linkerSettings: [
        .linkedLibrary("_FoundationCollections"), .linkedLibrary("_FoundationCShims"),
        .unsafeFlags([
          "-static-stdlib", "-Xlinker", "-soname=libgyre.so", "-Xlinker", "--no-undefined",
          "-Xlinker", "--version-script=\(Context.packageDirectory)/Sources/CGyre/gyre.map",
        ]),
      ]),
    .target(name: "CGyre", exclude: ["gyre.map"]),

    // The library, from the ring down to the storage.
    .target(
      name: "SequenceParallel",
      dependencies: ["MPI", "Sharding", "Attention", "AttentionReference", "Tensors"],
      swiftSettings: settings),
    // Dilated attention.
    .target(
      name: "LongNet",
      dependencies: [
        "SequenceParallel", "MPI", "Sharding", "Attention", "AttentionReference", "Tensors",
      ],
      swiftSettings: settings),
    // Predicts ranks that are not here.
    .target(
      name: "ScalingModel", dependencies: ["SequenceParallel", "LongNet", "Sharding", "Attention"],
      swiftSettings: settings),
    // Language models: their files, tokenizers and blocks.
    .target(
      name: "Models",
      dependencies: [
        "Mixers", "SequenceParallel", "MPI", "Sharding", "Attention", "KernelSets", "Compute",
        "Reporting", "Tensors",
      ],
      swiftSettings: settings),
    // Sequence mixers beside attention: scans, sums and halos over ranks.
    .target(
      name: "Mixers",
      dependencies: [
        "SequenceParallel", "MPI", "Sharding", "Compute", "CInstructions", "AttentionReference",
        "Tensors",
      ],
      swiftSettings: settings),
    .target(
      name: "Attention", dependencies: ["KernelSets", "AttentionTypes", "Compute", "Tensors"],
      swiftSettings: settings),

    // The kernels, once for each instruction set: the folders but the first are links to it. What
    // links them in is compiled for the least of them, and asks for one by its metatype. On arm64
    // the first alone is used.
    .target(
      name: "KernelSets",
      dependencies: [
        "Kernels", "KernelsAVX512", "KernelsAVX512BF16", "KernelsAMX", "AttentionTypes", "Compute",
        "Tensors",
      ],
      swiftSettings: settings),
    .target(
      name: "Kernels", dependencies: ["AttentionTypes", "CInstructions", "Compute", "Tensors"],
      swiftSettings: settings),
    .target(
      name: "KernelsAVX512",
      dependencies: ["AttentionTypes", "CInstructions", "Compute", "Tensors"],
      swiftSettings: compiled(for: "x86-64-v4", avx512)),
    .target(
      name: "KernelsAVX512BF16",
      dependencies: ["AttentionTypes", "CInstructions", "Compute", "Tensors"],
      swiftSettings: compiled(for: "x86-64-v4", avx512bf16)),
    // Passes over products of bf16 pairs alone, in tile registers.
    .target(
      name: "KernelsAMX",
      dependencies: ["AttentionTypes", "CInstructions", "Compute", "Tensors"],
      swiftSettings: compiled(
        for: "x86-64-v4",
        avx512bf16 + [.unsafeFlags(["-Xcc", "-mamx-tile", "-Xcc", "-mamx-bf16"])] + amx)),
    // Instructions that Swift has no words for.
    .target(name: "CInstructions"),

    // What kernels are told, and what they are made of.
    .target(
      name: "AttentionTypes", dependencies: ["Compute", "Tensors"], swiftSettings: settings),
    .target(
      name: "Compute", dependencies: ["CInstructions", "Tensors"], swiftSettings: settings),
    .target(name: "AttentionReference", swiftSettings: settings),
    .target(name: "Sharding", dependencies: ["Tensors"], swiftSettings: settings),
    .target(
      name: "Tensors",
      dependencies: [.product(name: "SystemPackage", package: "swift-system")],
      swiftSettings: settings),

    // The binding to MPI, which depends on nothing else here.
    .systemLibrary(
      name: "COpenMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
    .target(name: "MPI", dependencies: ["COpenMPI"], swiftSettings: settings),

    // Docs/Library.md.
    .executableTarget(
      name: "training-step",
      dependencies: ["MPI", "Sharding", "Tensors", "Attention", "SequenceParallel"],
      path: "Examples/TrainingStep", swiftSettings: settings),

    .executableTarget(
      name: "sliding-window",
      dependencies: ["MPI", "Sharding", "Tensors", "Attention", "SequenceParallel"],
      path: "Examples/SlidingWindow", swiftSettings: settings),

    // Docs/Extend-ScoreRule.md.
    .executableTarget(
      name: "linear-bias",
      dependencies: [
        "MPI", "Sharding", "Tensors", "Attention", "AttentionReference", "SequenceParallel",
      ],
      path: "Examples/LinearBias", swiftSettings: settings),

    // Docs/Extend-Route.md.
    .target(
      name: "PairwiseRoute", dependencies: ["Attention", "MPI", "SequenceParallel"],
      path: "Examples/PairwiseRoute", swiftSettings: settings),

    // Tests. Distributed ones start programs of their own under mpirun.
    .target(
      name: "TestSupport",
      dependencies: [.product(name: "Subprocess", package: "swift-subprocess")],
      path: "Tests/TestSupport", swiftSettings: settings),
    // Streams of blocks without mpirun: every rank a thread of one process.
    .target(
      name: "Loopback", dependencies: ["MPI", "SequenceParallel"], path: "Tests/Loopback",
      swiftSettings: settings),
    .executableTarget(
      name: "mpi-checks", dependencies: ["MPI"], path: "Tests/Programs/mpi-checks",
      swiftSettings: settings),
    .executableTarget(
      name: "ring-checks",
      dependencies: [
        "Compute", "MPI", "Sharding", "Tensors", "Attention", "AttentionReference",
        "SequenceParallel", "LongNet", "Mixers", "Models", "PairwiseRoute",
      ],
      path: "Tests/Programs/ring-checks", swiftSettings: settings),
    .testTarget(
      name: "AttentionTests",
      dependencies: [
        "Attention", "AttentionTypes", "Compute", "KernelSets", "KernelsTileModel",
        "AttentionReference", "Sharding", "Tensors",
      ],
      exclude: ["rope-tables.json", "rope-tables.py"], swiftSettings: settings),
    .testTarget(
      name: "KernelSetsTests",
      dependencies: ["Kernels", "KernelsAVX512", "KernelSets", "Compute", "Tensors"],
      swiftSettings: settings),
    // Kernels on tiles with the instructions on them computed in C, for processors without.
    .target(
      name: "KernelsTileModel",
      dependencies: ["AttentionTypes", "CInstructions", "Compute", "Tensors"],
      path: "Tests/KernelsTileModel",
      swiftSettings: compiled(
        for: "x86-64-v4", avx512bf16 + amx + [.unsafeFlags(["-Xcc", "-DGYRE_TILE_MODEL"])])),
    .testTarget(
      name: "TileModelTests", dependencies: ["CInstructions"],
      swiftSettings: settings + [.unsafeFlags(["-Xcc", "-DGYRE_TILE_MODEL"])]),
    .testTarget(
      name: "ComputeTests", dependencies: ["Compute", "Tensors"], swiftSettings: settings),
    .testTarget(
      name: "AttentionReferenceTests",
      dependencies: ["AttentionReference"],
      swiftSettings: settings),
    .testTarget(
      name: "GyreTests",
      dependencies: ["Compute", "Hosts", "MPI", "Tensors", "TestSupport", "gyre"],
      swiftSettings: settings),
    .testTarget(
      name: "BenchmarksTests", dependencies: ["Benchmarks", "Hosts"], swiftSettings: settings),
    .testTarget(
      name: "DoctorTests", dependencies: ["Doctor", "Hosts", "MPI"], swiftSettings: settings),
    .testTarget(name: "HostsTests", dependencies: ["Hosts"], swiftSettings: settings),
    .testTarget(name: "ReportingTests", dependencies: ["Reporting"], swiftSettings: settings),
    .testTarget(name: "ResultsTests", dependencies: ["Results"], swiftSettings: settings),
    .testTarget(
      name: "LaunchTests",
      dependencies: [
        "TestSupport", "gyre", "mpi-checks", "training-step", "sliding-window", "linear-bias",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "LongNetTests",
      dependencies: [
        "LongNet", "SequenceParallel", "Attention", "Sharding", "Tensors", "TestSupport",
        "ring-checks",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "MixersTests",
      dependencies: [
        "Mixers", "AttentionReference", "SequenceParallel", "Loopback", "MPI", "Sharding",
        "Compute", "Tensors", "TestSupport", "ring-checks",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "ModelsTests",
      dependencies: [
        "Models", "Reporting", "Attention", "AttentionTypes", "Compute", "KernelSets",
        "SequenceParallel", "Sharding", "Tensors", "TestSupport", "gyre", "ring-checks",
      ],
      exclude: [
        "blocks.json", "blocks.py", "decoders.json", "decoders.py", "rwkv.json", "rwkv.py",
        "tokenizers.json", "tokenizers.py",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "MPITests", dependencies: ["MPI", "TestSupport", "mpi-checks"],
      swiftSettings: settings),
    .testTarget(
      name: "SequenceParallelTests",
      dependencies: [
        "SequenceParallel", "Attention", "AttentionReference", "Loopback", "MPI", "Sharding",
        "Tensors", "TestSupport", "ring-checks",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "ScalingModelTests",
      dependencies: ["ScalingModel", "SequenceParallel", "Attention", "Sharding", "Tensors"],
      swiftSettings: settings),
    .testTarget(
      name: "ShardingTests", dependencies: ["Sharding", "Tensors"], swiftSettings: settings),
    // What the sources and Docs promise about each other.
    .testTarget(name: "StructureTests", swiftSettings: settings),
    .testTarget(
      name: "TensorsTests", dependencies: ["Tensors", "TestSupport"], swiftSettings: settings),
  ]
)
