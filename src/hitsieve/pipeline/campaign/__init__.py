"""Whole archives: what they would cost, and, once sieved, what they hold and what to fetch first."""

from hitsieve.pipeline.campaign.costing import Cost, cost_of
from hitsieve.pipeline.campaign.overview import Campaign, CampaignFile, CampaignRun, look_at, write_campaign

__all__ = ["Campaign", "CampaignFile", "CampaignRun", "Cost", "cost_of", "look_at", "write_campaign"]
