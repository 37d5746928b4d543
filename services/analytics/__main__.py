from common.service import run_service
from services.analytics.service import run

if __name__ == "__main__":
    raise SystemExit(run_service("analytics", run))
