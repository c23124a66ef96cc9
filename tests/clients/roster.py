"""Every library client of `make clients`: its pins, its program, its driver."""

from __future__ import annotations

from clients.drive import Library
from clients.http_drive import HttpLibrary

MCP_2 = "mcp==2.3.0"

LIBRARIES = (
    Library(
        "inspector",
        "inspector",
        "inspector.mjs",
        ("@modelcontextprotocol/inspector@2.12.0",),
        "its command line, as it comes: list with `--strict`, one process per request",
        {"mode": "legacy"},
    ),
    Library(
        "inspector-modern",
        "inspector",
        "inspector.mjs",
        ("@modelcontextprotocol/inspector@2.12.0",),
        "its command line with `--protocol-era modern`",
        {"mode": "modern"},
        folder="inspector",
    ),
    Library(
        "ts-v1",
        "sdk",
        "ts_v1.mjs",
        ("@modelcontextprotocol/sdk@1.32.2",),
        "`Client` over stdio",
        asks=True,
    ),
    Library(
        "ts-v2",
        "sdk",
        "ts_v2.mjs",
        ("@modelcontextprotocol/client@2.4.0",),
        "`Client` over stdio, as it comes",
        asks=True,
    ),
    Library(
        "ts-v2-modern",
        "sdk",
        "ts_v2.mjs",
        ("@modelcontextprotocol/client@2.4.0",),
        "`Client` over stdio, version negotiation `auto`",
        {"mode": "auto"},
        folder="ts-v2",
        asks=True,
    ),
    Library(
        "mcp-1.9",
        "sdk",
        "mcp_v1.py",
        ("mcp==1.9.4", "pydantic<2.12"),
        "`ClientSession` over stdio; needs `pydantic<2.12`",
    ),
    Library(
        "mcp-1.30",
        "sdk",
        "mcp_v1.py",
        ("mcp==1.30.0",),
        "`ClientSession` over stdio",
        asks=True,
    ),
    Library(
        "mcp-2",
        "sdk",
        "mcp_v2.py",
        (MCP_2,),
        "`Client` over stdio, as it comes (mode `auto`)",
        {"mode": "auto"},
        asks=True,
    ),
    Library(
        "mcp-2-legacy",
        "sdk",
        "mcp_v2.py",
        (MCP_2,),
        "`Client` over stdio, mode `legacy`",
        {"mode": "legacy"},
        folder="mcp-2",
        asks=True,
    ),
    Library(
        "fastmcp",
        "sdk",
        "fastmcp_client.py",
        ("fastmcp==4.2.3", MCP_2),
        "`Client` with a `StdioTransport`",
        asks=True,
    ),
    Library(
        "langchain",
        "framework",
        "langchain_adapter.py",
        # The last two are for `make examples`, as is `openai` below.
        (
            *("langchain-mcp-adapters==0.3.2", "mcp==1.30.0"),
            *("langchain==1.5.2", "langchain-openai==1.7.4"),
        ),
        "`MultiServerMCPClient.get_tools`, then each tool with a tool call; what its"
        " `ToolMessage` holds as content",
        asks=True,
    ),
    Library(
        "openai-agents",
        "framework",
        "openai_agents.py",
        ("openai-agents==0.24.0", MCP_2),
        "an `Agent` with `MCPServerStdio` and a scripted `Model`; what the model is sent",
    ),
    Library(
        "pydantic-ai",
        "framework",
        "pydantic_agent.py",
        ("pydantic-ai-slim[mcp,openai]==2.66.0", MCP_2),
        "an `Agent` with `MCPToolset` and a `FunctionModel`; what the model is sent",
        asks=True,
    ),
    Library(
        "llama-index",
        "framework",
        "llama_index_tools.py",
        ("llama-index-tools-mcp==0.6.0", MCP_2),
        "`McpToolSpec` with `BasicMCPClient`, then each tool; the content of its `ToolOutput`",
    ),
    Library(
        "smolagents",
        "framework",
        "smolagents_agent.py",
        ("smolagents[mcp]==1.26.0", "mcp==1.30.0"),
        "a `CodeAgent` with `MCPClient(structured_output=False)` and a scripted `Model`; what the"
        " model is sent",
    ),
    Library(
        "google-adk",
        "framework",
        "google_adk.py",
        ("google-adk[mcp]==2.13.0", MCP_2),
        "an `LlmAgent` with `McpToolset` and a scripted `BaseLlm`; what the model is sent",
    ),
)

_OF = {one.name: one for one in LIBRARIES}
_HEADER = "a token in a header"
_NO_PROXY = "with a proxy in its environment it cannot load its own `undici`, so without one"
_LOGIN = "its own login by OAuth, from the 401 on; a stand-in only for the browser"

HTTP_LIBRARIES = (
    HttpLibrary(
        "inspector-http",
        _OF["inspector"],
        "token",
        f"its command line with `--transport http`, {_HEADER}; {_NO_PROXY}",
    ),
    HttpLibrary(
        "inspector-modern-http",
        _OF["inspector-modern"],
        "token",
        f"the same with `--protocol-era modern`, {_HEADER}; {_NO_PROXY}",
    ),
    HttpLibrary("ts-v1-http", _OF["ts-v1"], "token", f"`StreamableHTTPClientTransport`, {_HEADER}"),
    HttpLibrary("ts-v1-login", _OF["ts-v1"], "login", f"`OAuthClientProvider`: {_LOGIN}"),
    HttpLibrary("ts-v2-http", _OF["ts-v2"], "token", f"`StreamableHTTPClientTransport`, {_HEADER}"),
    HttpLibrary(
        "ts-v2-modern-http",
        _OF["ts-v2-modern"],
        "token",
        f"the same with version negotiation `auto`, {_HEADER}",
    ),
    HttpLibrary("ts-v2-login", _OF["ts-v2-modern"], "login", f"`OAuthClientProvider`: {_LOGIN}"),
    HttpLibrary("mcp-1.9-http", _OF["mcp-1.9"], "token", f"`streamablehttp_client`, {_HEADER}"),
    HttpLibrary(
        "mcp-1.9-login",
        _OF["mcp-1.9"],
        "login",
        f"`OAuthClientProvider`: {_LOGIN}",
        cannot=(
            "Registration failed: 404",
            "it looks for the authorization server at the service's own address, as in 2025-03-26",
        ),
    ),
    HttpLibrary("mcp-1.30-http", _OF["mcp-1.30"], "token", f"`streamablehttp_client`, {_HEADER}"),
    HttpLibrary("mcp-1.30-login", _OF["mcp-1.30"], "login", f"`OAuthClientProvider`: {_LOGIN}"),
    HttpLibrary("mcp-2-http", _OF["mcp-2"], "token", f"`streamable_http_client`, {_HEADER}"),
    HttpLibrary("mcp-2-legacy-http", _OF["mcp-2-legacy"], "token", f"mode `legacy`, {_HEADER}"),
    HttpLibrary("mcp-2-login", _OF["mcp-2"], "login", f"`OAuthClientProvider`: {_LOGIN}"),
    HttpLibrary(
        "mcp-2-agent",
        _OF["mcp-2"],
        "agent",
        "`ClientCredentialsOAuthProvider`: an agent of no user, which may not ask for money",
    ),
)

SMOKE = ("mcp-1.9", "mcp-2", "ts-v1", "pydantic-ai", "ts-v1-http", "mcp-2-login")
"""Quick to install, and between them both eras, both languages, a framework, HTTP and a login."""
